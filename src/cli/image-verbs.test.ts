/** Which control plane verbs on images ask. */
import { Command } from "commander";
import { expect, it } from "vitest";
import { addImageVerbs } from "./image-verbs.ts";
import { statePaths } from "./paths.ts";
import { placeFrom } from "./place.ts";

const LOCAL = ["analyze", "check"];
const program = () => {
  const made = new Command("vireo").exitOverride();
  const placeOf = placeFrom(() => statePaths("/nowhere"));
  addImageVerbs(made, placeOf, () => {});
  return made;
};
const verbs = () => (program().commands[0]?.commands ?? []).filter((verb) => !LOCAL.includes(verb.name()));

it("is another one than this installation's with --kubeconfig, of each verb", async () => {
  expect(verbs().length).toBeGreaterThan(10);
  for (const verb of verbs()) {
    const words = verb.registeredArguments.map(() => "web:1");
    const required = verb.options.filter(
      ({ mandatory, defaultValue }) => mandatory && defaultValue === undefined,
    );
    const more = [
      ...required.flatMap(({ long }) => [long ?? "", "/dev/null"]),
      ...(verb.name() === "build" ? ["-p", "bash"] : []),
    ];
    const asked = program().parseAsync(
      ["image", verb.name(), ...words, ...more, "--kubeconfig", "/no/such"],
      { from: "user" },
    );
    await expect(asked, verb.name()).rejects.toThrow("/no/such: no such file");
  }
});
