export function codeCache(): string;
