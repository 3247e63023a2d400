import { classesOf } from "./classes.ts";
import { type Metric, mean } from "./metric.ts";

/** Share of examples whose class is the true one. */
export const accuracy: Metric = {
  name: "accuracy",
  meaning: "share of examples whose predicted class is the true one",
  better: "higher",
  compute: (scored) =>
    mean(
      scored.map((one) => {
        const { truth, predicted } = classesOf(one);
        return truth === predicted ? 1 : 0;
      }),
    ),
};
