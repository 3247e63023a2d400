/** Colors, where the terminal has them and nobody asked for none (NO_COLOR, FORCE_COLOR, TERM=dumb). */
import { styleText } from "node:util";

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";
export type Paint = (style: Style, text: string) => string;

export function paintFor(stream: NodeJS.WriteStream): Paint {
  return (style, text) => styleText(style, text, { stream });
}

export const noPaint: Paint = (_style, text) => text;
