/** What files of each language say that they need. */
import { describe, expect, it } from "vitest";
import { elfNeeds } from "./elf-needs.ts";
import { jarNeeds } from "./java.ts";
import { type Need, VERSIONS } from "./needs.ts";
import { placeNeeds } from "./places.ts";
import { importsOf, modulePaths, pythonNeeds } from "./python.ts";
import { nodeDependencies, nodeNeeds, perlNeeds, rubyNeeds, shellNeeds, sourcedBy } from "./scripts.ts";
import { zipOf } from "./testing/zip.ts";

const VERSION = VERSIONS.bookworm ?? { python: "", perl: "", ruby: "", java: 0 };
const none = () => false;
const brief = (needs: readonly Need[]) => needs.map(({ what, confidence }) => `${what} ${confidence}`);

describe("Python", () => {
  const imports = (text: string) =>
    importsOf(text).flatMap(({ names, confidence }) => names.map((name) => `${name} ${confidence}`));

  it("imports at the beginning are certain, those of functions likely, those that are only tried possible", () => {
    const text = [
      '"""import docstring',
      'from strings import nothing"""',
      "import os.path as p, yaml  # import comment",
      "from a.b import (",
      "    c,  # one",
      "    d as e,",
      ")",
      "from . import own",
      "def f():",
      "    import lazy; x = 'import quoted'",
      "try:",
      "    import fast",
      "except ImportError:",
      "    import slow",
      "try:",
      "    import sure",
      "except ValueError:",
      "    pass",
      "if TYPE_CHECKING:",
      "    import hint",
      "if sys.platform == 'win32':",
      "    import winreg",
      "if x: \\",
      "  import continued",
      "import last",
    ].join("\n");
    expect(imports(text)).toEqual([
      "os.path certain",
      "yaml certain",
      "a.b.c certain",
      "a.b.d certain",
      "lazy likely",
      "fast possible",
      "slow possible",
      "sure certain",
      "winreg possible",
      "last certain",
    ]);
  });

  it("tells the line", () => {
    expect(importsOf("\n'''\n\n'''\nimport x\n")).toMatchObject([{ line: 5 }]);
  });

  it("asks for the deepest module first, and neither for built-in ones nor for the application's own", () => {
    expect(modulePaths("google.protobuf", VERSION).slice(0, 4)).toEqual([
      "usr/lib/python3.11/google/protobuf/__init__.py",
      "usr/lib/python3.11/google/protobuf.py",
      "usr/lib/python3/dist-packages/google/protobuf/__init__.py",
      "usr/lib/python3/dist-packages/google/protobuf.py",
    ]);
    const needs = pythonNeeds("import sys, mine, yaml", "app.py", VERSION, (name) => name === "mine");
    expect(needs).toMatchObject([{ what: "yaml", file: "app.py:1" }]);
  });
});

describe("scripts", () => {
  it("Perl: use and require; what is documentation or data is not read", () => {
    const text = [
      "use strict; use parent qw(Net::Server);",
      "use File::Next 1.0;",
      "=pod",
      "",
      "use In::Documentation;",
      "",
      "=cut",
      "  require Later;",
      "require Mine;",
      "__END__",
      "use After::End;",
    ].join("\n");
    const needs = perlNeeds(text, "app", VERSION, (path) => path === "Mine.pm");
    expect(brief(needs)).toEqual(["strict certain", "File::Next certain", "Later possible"]);
    expect(needs[1]).toMatchObject({
      file: "app:2",
      paths: expect.arrayContaining(["usr/share/perl5/File/Next.pm"]),
    });
    expect(brief(perlNeeds("use parent qw(Net::Server);", "app", VERSION, none))).toEqual([
      "parent certain",
      "Net::Server certain",
    ]);
  });

  it("Ruby: require, also of gems", () => {
    const [need] = rubyNeeds("require 'sinatra'\nrequire_relative 'own'\n", "app.rb", VERSION, none);
    expect(need).toMatchObject({ what: "sinatra", confidence: "certain" });
    expect(need?.paths).toContain("usr/share/rubygems-integration/all/gems/sinatra-*/lib/sinatra.rb");
  });

  it("Node: packages, by require, import and package.json; not its own modules, nor files", () => {
    const text =
      'const a = require("@x/y/z");\nimport b from "ws";\nimport "node:fs";\nrequire("path");\nrequire("./own");\n';
    expect(brief(nodeNeeds(text, "app.js", none))).toEqual(["@x/y certain", "ws certain"]);
    const json = '{"dependencies": {"ws": "8", "own": "1"}, "optionalDependencies": {"bufferutil": "4"}}';
    expect(brief(nodeDependencies(json, "package.json", (name) => name === "own"))).toEqual([
      "ws likely",
      "bufferutil possible",
    ]);
    expect(nodeDependencies("{", "package.json", none)).toEqual([]);
  });

  it("shell: commands; not words of strings, comments, here-documents, patterns, nor functions", () => {
    const text = [
      "#!/bin/sh",
      "# curl in a comment",
      "helper() { rsync -a x y; }",
      'echo "wget in a string" | jq . > out',
      "cat <<EOF",
      "tcpdump",
      "EOF",
      'case "$1" in',
      "  start|socat) helper ;;",
      "esac",
      "if command -v zstd >/dev/null; then zstd x; fi",
      'X=1 sudo ip link && VERSION="$(openssl version)"',
      "/usr/local/bin/tool --now",
    ].join("\n");
    expect(brief(shellNeeds(text, "run", none))).toEqual([
      "rsync likely",
      "jq likely",
      "cat likely",
      "zstd possible",
      "ip likely",
      "openssl likely",
      "/usr/local/bin/tool likely",
    ]);
  });
});

describe("programs and libraries", () => {
  it("need what they are linked with; libraries whose names stand in them are possible", () => {
    const bytes = Buffer.from(
      "\0libssl.so.3\0libz.so.1\0libnot-at-all\0/usr/sbin/sendmail\0xlibinner.so.1\0",
    );
    const elf = {
      needed: ["libz.so.1", "libown.so.2"],
      runPath: ["/usr/lib/app/", "$ORIGIN"],
      isProgram: true,
    };
    const needs = elfNeeds(elf, bytes, "bin/app", (name) => name === "libown.so.2");
    expect(brief(needs)).toEqual([
      "libz.so.1 certain",
      "libssl.so.3 possible",
      "/usr/sbin/sendmail possible",
    ]);
    expect(needs[0]?.paths.slice(0, 2)).toEqual([
      "usr/lib/app/libz.so.1",
      "usr/lib/x86_64-linux-gnu/libz.so.1",
    ]);
  });

  it("need the file that a function of libc reads", () => {
    const bytes = Buffer.from("\0getservbyname\0mygetprotobyname\0");
    const elf = (needed: string[]) => ({ needed, runPath: [], isProgram: true });
    const needs = elfNeeds(elf(["libc.so.6"]), bytes, "bin/app", () => true);
    expect(needs).toMatchObject([{ how: "calls", what: "getservbyname", paths: ["etc/services"] }]);
    expect(elfNeeds(elf([]), bytes, "libc.so.6", () => true)).toEqual([]);
  });

  it("jars: the Java of their classes, and jars that they name", () => {
    const kind = Buffer.alloc(8);
    kind.writeUInt32BE(0xcafebabe);
    kind.writeUInt16BE(61, 6);
    const zip = zipOf({
      "a/B.class": kind,
      "META-INF/MANIFEST.MF": Buffer.from("Class-Path: lib/own.jar commons-\r\n io.jar\r\n"),
    });
    const needs = jarNeeds(zip, "app.jar", VERSION, (jar) => jar === "own.jar");
    expect(needs).toMatchObject([
      { what: "java", how: "classes for Java 17", paths: ["usr/lib/jvm/default-java"] },
      { what: "commons-io.jar", paths: ["usr/share/java/commons-io.jar"] },
    ]);
    expect(jarNeeds(zip.subarray(0, 40), "app.jar", VERSION, none)).toEqual([]);
    expect(jarNeeds(Buffer.from("no zip"), "app.jar", VERSION, none)).toEqual([]);
  });
});

it("what lies in a folder that others read needs what makes it one; what it brings itself it does not", () => {
  const icons = "usr/share/icons/hicolor/48x48/apps/a.png";
  expect(placeNeeds([icons, "usr/share/icons/hicolor/16x16/apps/b.svg", "etc/logrotate.d/a"])).toMatchObject([
    { file: icons, what: "usr/share/icons/hicolor/index.theme", confidence: "likely" },
    { file: "etc/logrotate.d/a", what: "usr/sbin/logrotate", confidence: "possible" },
  ]);
  expect(placeNeeds([icons, "usr/share/icons/hicolor/index.theme"])).toEqual([]);
  expect(placeNeeds(["usr/share/icons/a.png", "etc/logrotate.conf"])).toEqual([]);
});

it("files that a shell script reads into itself", () => {
  const source =
    '. "$DIR/functions"\nif x; then . ./more.sh; fi\nsource lib\necho . dot\n[ -e a ] && . a/b-c\n';
  expect(sourcedBy(source)).toEqual(["functions", "more.sh", "lib", "b-c"]);
});
