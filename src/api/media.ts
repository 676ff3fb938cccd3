/** Content negotiation: what form of answer the client's Accept header asks for. */
import { ApiError } from "../resource/errors.ts";

export interface Media {
  /** What the objects are turned into; empty: as they are. */
  as: "" | "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList" | "APIGroupDiscoveryList";
  /** Version of that form. */
  version: string;
  yaml: boolean;
  contentType: string;
}

const FORMS = [
  "Table",
  "PartialObjectMetadata",
  "PartialObjectMetadataList",
  "APIGroupDiscoveryList",
] as const;
type Form = (typeof FORMS)[number];
const VERSIONS: Record<Form, readonly string[]> = {
  Table: ["v1", "v1beta1"],
  PartialObjectMetadata: ["v1", "v1beta1"],
  PartialObjectMetadataList: ["v1", "v1beta1"],
  APIGroupDiscoveryList: ["v2", "v2beta1"],
};
const JSON_TYPES = ["application/json", "application/*", "*/*"];
const PLAIN: Media = { as: "", version: "", yaml: false, contentType: "application/json" };

/** The first media type of the list that we know; newer clients put ones first that we do not, which are passed over. */
export function negotiate(accept: string | undefined, forms: readonly Form[] = []): Media {
  if (!accept) return PLAIN;
  for (const part of accept.split(",")) {
    const [type = "", ...parameters] = part.split(";").map((piece) => piece.trim());
    const parameter = Object.fromEntries(
      parameters.map((text) => text.split("=", 2)).map(([name, value]) => [name ?? "", value ?? ""]),
    );
    if (parameter.as !== undefined) {
      const form = forms.find((known) => known === parameter.as);
      if (!JSON_TYPES.includes(type) || !form || parameter.profile) continue;
      if (!VERSIONS[form].includes(parameter.v ?? "")) continue;
      return {
        as: form,
        version: parameter.v ?? "",
        yaml: false,
        // kubectl takes an answer without these parameters for the classic form.
        contentType:
          form === "APIGroupDiscoveryList"
            ? `application/json;g=apidiscovery.k8s.io;v=${parameter.v};as=APIGroupDiscoveryList`
            : "application/json",
      };
    }
    if (type === "application/yaml") return { ...PLAIN, yaml: true, contentType: "application/yaml" };
    if (JSON_TYPES.includes(type)) return PLAIN;
  }
  throw new ApiError(
    "NotAcceptable",
    "only the following media types are accepted: application/json, application/yaml",
  );
}
