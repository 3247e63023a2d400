/**
 * Several trainings side by side: in every pass each of them takes its next micro-batch, and where one ends the next
 * one of the queue takes its place. Each keeps its own optimizer, clipping, schedule, terms and counts; a training does
 * the same in company as alone, but for the rounding of a pass with other rows.
 */
import { gradientsOf, type Learner, type Portion, type Row } from "./learner.ts";
import type { Training } from "./loop.ts";
import type { TrainResult } from "./trainer.ts";
import { inwardPortion, outwardGradients, type View } from "./view.ts";

export interface Member<R extends Row> {
  readonly view: View;
  /** Called when its turn comes: what a training holds in memory, it holds from here on. */
  begin(): Promise<Training<R>>;
  done(result: TrainResult): void;
  failed(error: unknown): void;
}

interface Active<R extends Row> {
  readonly member: Member<R>;
  readonly run: Training<R>;
  turn: IteratorResult<Portion<R>, TrainResult>;
}

/**
 * Resolves when every member is done or failed. Members begin in their order.
 *
 * @param learner that all members' views lead to
 * @param atOnce trainings side by side at most
 */
export async function trainInLockstep<R extends Row>(
  learner: Learner<R>,
  members: readonly Member<R>[],
  atOnce: number,
): Promise<void> {
  const waiting = [...members];
  let active: Active<R>[] = [];
  for (;;) {
    while (active.length < atOnce && waiting.length > 0) {
      const begun = await beginning(waiting.shift()!);
      if (begun !== undefined) active.push(begun);
    }
    if (active.length === 0) return;
    active = await pass(learner, active);
  }
}

async function beginning<R extends Row>(member: Member<R>): Promise<Active<R> | undefined> {
  try {
    const run = await member.begin();
    return stillActive({ member, run, turn: await run.next() });
  } catch (error) {
    member.failed(error);
    return undefined;
  }
}

/** One micro-batch of each. @returns those that go on */
async function pass<R extends Row>(learner: Learner<R>, active: readonly Active<R>[]): Promise<Active<R>[]> {
  const portions = active.map(({ turn }) => turn.value as Portion<R>); // who is active has not returned
  const results = await gradientsOf(
    learner,
    portions.map((portion, i) => inwardPortion(active[i]!.member.view, portion)),
  ).then(
    (gradients) => ({ gradients }),
    (error: unknown) => ({ error }),
  );
  const going: Active<R>[] = [];
  for (const [i, one] of active.entries()) {
    const { member, run } = one;
    try {
      one.turn =
        "error" in results
          ? await run.throw(results.error)
          : await run.next(outwardGradients(member.view, results.gradients[i]!, portions[i]!));
      if (stillActive(one) !== undefined) going.push(one);
    } catch (error) {
      member.failed(error);
    }
  }
  return going;
}

function stillActive<R extends Row>(one: Active<R>): Active<R> | undefined {
  if (one.turn.done !== true) return one;
  one.member.done(one.turn.value);
  return undefined;
}
