/** Code that is loaded when it is first needed, by which time the server may be away, or another version. */

const AGAIN_MS = 2000;

/** The server has not what is asked for: it is another version by now. */
export class OutOfDate extends Error {}

/** The script that began this page, by a name that another version does not have. */
const entry = () =>
  document.querySelector<HTMLScriptElement>("script[type=module][src]")?.getAttribute("src");

/**
 * Waits while there is no control plane.
 * @throws OutOfDate when the server's pages are of another version; what `load` throws when they are not, as for a module that
 * fails, or where the browser never again asks for one that it once could not get
 */
export async function loaded<T>(load: () => Promise<T>, began = entry): Promise<T> {
  for (;;)
    try {
      return await load();
    } catch (cause) {
      const now = await fetch("/", { cache: "no-store" })
        .then((response) => (response.ok ? response.text() : undefined))
        .catch(() => undefined);
      if (now !== undefined) {
        const own = began();
        if (own && !now.includes(`"${own}"`))
          throw new OutOfDate("The server has another version of these pages.", { cause });
        throw cause;
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
}
