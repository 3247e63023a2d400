/** A wrapper's own state beside the inner strategy's: its keys carry its name, the inner keys stay as they are. */
import type { StrategyState } from "./strategy.ts";

export function withOwn(wrapper: string, own: StrategyState, inner: StrategyState): StrategyState {
  const named = <T>(record: Readonly<Record<string, T>>) =>
    Object.fromEntries(Object.entries(record).map(([key, value]) => [`${wrapper}.${key}`, value]));
  return {
    scalars: { ...inner.scalars, ...named(own.scalars) },
    tensors: { ...inner.tensors, ...named(own.tensors) },
  };
}

export function takeOwn(wrapper: string, state: StrategyState): { own: StrategyState; inner: StrategyState } {
  const prefix = `${wrapper}.`;
  const part = <T>(record: Readonly<Record<string, T>>, mine: boolean): Record<string, T> =>
    Object.fromEntries(
      Object.entries(record)
        .filter(([key]) => key.startsWith(prefix) === mine)
        .map(([key, value]) => [mine ? key.slice(prefix.length) : key, value]),
    );
  return {
    own: { scalars: part(state.scalars, true), tensors: part(state.tensors, true) },
    inner: { scalars: part(state.scalars, false), tensors: part(state.tensors, false) },
  };
}
