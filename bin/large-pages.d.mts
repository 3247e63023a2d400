export function largePages(): Record<string, string>;
export function beginOnLargePages(): void;
