/** Label selectors in kinds. Apart from selector.ts, which browsers have, too, without a library for schemas. */
import { type Static, Type } from "typebox";
import { AS_ONE, rules, Words } from "./kind.ts";

/** @param description what it chooses */
export const Selector = (description: string) =>
  Type.Object(
    {
      matchLabels: Type.Optional(Type.Record(Type.String(), Type.String())),
      matchExpressions: Type.Optional(
        Type.Array(
          Type.Object(
            {
              key: Type.String(),
              operator: Words(["In", "NotIn", "Exists", "DoesNotExist"]),
              values: Type.Optional(Type.Array(Type.String())),
            },
            rules(
              {
                rule: "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
                message: "In and NotIn need values",
                fieldPath: ".values",
              },
              {
                rule: "self.operator in ['In', 'NotIn'] || !has(self.values) || size(self.values) == 0",
                message: "Exists and DoesNotExist take no values",
                fieldPath: ".values",
              },
            ),
          ),
        ),
      ),
    },
    { description, ...AS_ONE },
  );

export type LabelSelector = Static<ReturnType<typeof Selector>>;
