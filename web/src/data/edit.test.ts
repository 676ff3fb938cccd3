/** What the YAML tab saves, applied as the server applies it. */
import { expect, it } from "vitest";
import { mergePatch } from "../../../src/api/patch.ts";
import { isResource } from "../../../src/client/answers.ts";
import type { Fields } from "../../../src/resource/fields.ts";
import { editable, saving } from "./edit.ts";
import type { Resource } from "./kinds.ts";

const object: Resource = {
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: {
    name: "web-1",
    namespace: "shop",
    uid: "1",
    resourceVersion: "7",
    labels: { tier: "web", old: "yes" },
    finalizers: ["vireo.dev/volumes"],
    ownerReferences: [{ apiVersion: "v1", kind: "Set", name: "web", uid: "2", controller: true }],
  },
  spec: { cpus: 1, memory: "64Mi", networks: ["default"], hardware: { tpm: true, firmware: "uefi" } },
  status: { phase: "Running" },
};

function save(edited: Fields) {
  if (!isResource(edited)) throw new Error("no object");
  const { method, path, body, contentType } = saving("/vms/web-1", object, "8", edited, false);
  expect([method, path, contentType]).toEqual([
    "PATCH",
    "/vms/web-1?fieldValidation=Strict",
    "application/merge-patch+json",
  ]);
  return { body, saved: mergePatch(object, body) };
}

it("changes what its user changed, and loses neither finalizers nor owners", () => {
  const { metadata } = object;
  const spec = { cpus: 2, memory: "64Mi", networks: ["more"], hardware: { tpm: true } };
  const labels = { tier: "db" };
  const annotations = { note: "new" };
  const edited = { ...editable(object), spec, metadata: { ...metadata, labels, annotations } };
  // As he sees it: neither finalizers nor owners are in his text.
  const { finalizers: _1, ownerReferences: _2, uid: _3, ...shown } = edited.metadata;
  expect(save({ ...edited, metadata: shown }).saved).toEqual({
    ...object,
    spec,
    metadata: { ...metadata, resourceVersion: "8", labels, annotations },
  });
});

it("sends the version that it is to be, whatever the text says, and nothing else when nothing was changed", () => {
  const same = { metadata: { resourceVersion: "8" } };
  expect(save(editable(object)).body).toEqual(same);
  const { name, namespace, labels, resourceVersion } = object.metadata;
  const edited = { ...editable(object), metadata: { name, namespace, labels, resourceVersion } };
  expect(save(edited).body).toEqual(same);
});
