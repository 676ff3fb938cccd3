/** What a host's BMC can be asked for, whatever it speaks. */
import { isFields } from "../resource/fields.ts";
import type { Resource } from "../resource/object.ts";

export type PowerState = "On" | "Off";

/** All @throws BmcError. Each may be asked again: what is so already stays so. */
export interface Bmc {
  state(): Promise<PowerState>;
  on(): Promise<void>;
  /** Asks its system to shut down, as its power button does (ACPI). It may take its time, or not listen. */
  shutDown(): Promise<void>;
  /** Cuts its power. */
  cut(): Promise<void>;
}

/** Something could not be done. The text is for users: which BMC, what was tried, and what would mend it. */
export class BmcError extends Error {}

export interface Credentials {
  username: string;
  password: string;
}

const TYPE = "vireo.dev/bmc";

/** @param secret what is stored under the name, if anything. @throws BmcError that never holds a value */
export function credentialsOf(
  { namespace, name }: { namespace: string; name: string },
  secret: Resource | undefined,
): Credentials {
  const what = `the Secret ${namespace}/${name} (spec.bmc.credentials)`;
  if (!secret)
    throw new BmcError(
      `${what} does not exist; kubectl create secret generic ${name} -n ${namespace} --type=${TYPE} --from-literal=username=… --from-literal=password=… makes it`,
    );
  const type: unknown = Reflect.get(secret, "type");
  if (type !== TYPE) throw new BmcError(`${what} is not of the type ${TYPE}; only such are sent to BMCs`);
  const data: unknown = Reflect.get(secret, "data");
  const read = (key: keyof Credentials): string => {
    const coded = isFields(data) ? data[key] : undefined;
    const value = typeof coded === "string" ? Buffer.from(coded, "base64").toString() : "";
    if (!value || [...value].some((each) => each < " "))
      throw new BmcError(`${what}: its key ${key} is missing, empty, or has line breaks`);
    return value;
  };
  return { username: read("username"), password: read("password") };
}
