/**
 * Words of tasks that the model will be fine-tuned on. Each is one token with a row of its own in the word table; a
 * row that never was an answer stays as random as it began, so answers also come up in lessons.
 */

const words = (text: string): readonly string[] => text.trim().split(/\s+/);

/** What tasks answer with. */
export const ANSWER_WORDS = words(`
 hateful not-hateful affected individuals infrastructure utility damage injured dead people missing found rescue
 volunteering donation effort vehicle other relevant information humanitarian lung brain liver lesion mass normal
 abnormal none one two yes no rest surgery vitamin drug more daily now later true false positive negative spam
 sports music food water home work accept reject keep discard north south east west urgent routine approve deny stop
 go up down high low old new`);

/** What prompts say beside that. */
export const PROMPT_WORDS = words(`
 Is the content What category based on image and text without considering modality or never love hate every day this
 again please help needed nobody needs remove us trust famous they will ban road bridge house flood fire storm after
 many families lost trapped hurt hospital search for team volunteers gave money car crashed truck burned down were at
 is here to news report nothing happened look see picture from today since organ shown which there seen in left right
 upper lower what how are causes treats helps with treatment symptom sign disease fever cough pain rash blood heart
 kidney skin bone night need who why when much question answer Answer truthfully a an of it was be on by has have can
 that these those my your our their his her he she you i we not very so but if then than into out up over under
 sentence choose color thing parcel package label note says say decide route ship store order item inspect shows
 read match record picture left description big small tiny huge shelf table floor wall door box`);

export const TASK_WORDS = [...new Set([...ANSWER_WORDS, ...PROMPT_WORDS])];
