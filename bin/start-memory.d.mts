export function lackingEnvironment(): Record<string, string>;
export function startAnew(): void;
