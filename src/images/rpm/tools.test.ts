/** What dnf and zypper say, as packages. The real ones: rpm-packages.real.test.ts. */
import { expect, it } from "vitest";
import { plannedOf } from "./dnf.ts";
import { solvables } from "./zypper.ts";

it("dnf's lines of what it would install", () => {
  const said = `--> Starting dependency resolution
---> Package glibc.x86_64 2.42-4.fc43 will be installed
---> Package bind.noarch 32:9.18.1-1.fc43 will be installed
---> Package glibc.i686 2.42-4.fc43 will be installed
---> Package old.x86_64 1-1 will be erased
`;
  expect(plannedOf(said)).toEqual([
    { name: "glibc", version: "2.42-4.fc43", arch: "x86_64" },
    { name: "bind", version: "32:9.18.1-1.fc43", arch: "noarch" },
  ]);
});

it("zypper's XML, of packages alone", () => {
  const xml = `<to-install>
<solvable type="package" name="bash" edition="0:5.2-1" arch="x86_64" summary="x"><description>arch="y"</description></solvable>
<solvable type="patch" name="fix" edition="1" arch="noarch"/>
</to-install><solvable status="not-installed" name="vim" kind="package" edition="9.1~rc-2.3" arch="noarch" repository="r"/>`;
  expect(solvables(xml)).toEqual([
    { name: "bash", version: "5.2-1", arch: "x86_64" },
    { name: "vim", version: "9.1~rc-2.3", arch: "noarch" },
  ]);
});
