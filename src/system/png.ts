/** What begins every PNG (https://www.w3.org/TR/png-3/, 5.2). */
export const PNG_SIGNATURE = Buffer.from("\x89PNG\r\n\x1a\n", "latin1");

/** @param bytes a file, or its beginning */
export const isPng = (bytes: Buffer) => bytes.subarray(0, PNG_SIGNATURE.length).equals(PNG_SIGNATURE);
