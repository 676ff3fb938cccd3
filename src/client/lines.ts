/** Splits a byte stream into lines; the consumer's pace is the sender's (backpressure). The last, cut line is dropped. */
export async function* lines(stream: AsyncIterable<Buffer>): AsyncGenerator<string> {
  // Bytes, not strings, are searched: a multi-byte character may be cut between two chunks.
  let rest: Buffer[] = [];
  for await (const chunk of stream) {
    let start = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      rest.push(chunk.subarray(start, end));
      const line = Buffer.concat(rest).toString("utf8");
      rest = [];
      start = end + 1;
      if (line.trim()) yield line;
    }
    if (start < chunk.length) rest.push(chunk.subarray(start));
  }
}
