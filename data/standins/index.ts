/** The list of stand-in datasets. */
import { crisis } from "./crisis.ts";
import { flashcards, radiology, slake } from "./medical.ts";
import { memes } from "./memes.ts";
import type { Standin } from "./standin.ts";

export const STANDINS: readonly Standin[] = [memes, crisis, radiology, flashcards, slake];
