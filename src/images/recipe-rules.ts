/** Rules of recipes about single fields, and about what each mode can do. Pure. */
import { type Cause, forbiddenField, invalidField, invalidValue, requiredField } from "../resource/errors.ts";
import { isPng } from "../system/png.ts";
import { keyProblem } from "./packages/repositories.ts";
import { bytesOf, type Recipe } from "./recipe.ts";
import { desktopOf, isRpm, withoutDesktop, withoutMode } from "./releases/release.ts";
import { findRelease, RELEASES } from "./releases/releases.ts";
import { kernelOf } from "./shared.ts";

const at = (field: string) => `spec.recipe.${field}`;
const invalid = (field: string, value: unknown, why: string) => invalidValue(at(field), value, why);

/** What can be known of them before anything is built. */
export function checkParts(recipe: Recipe): Cause[] {
  const { packages = [], repositories = [], timeZone, mirror } = recipe;
  const release = findRelease(recipe);
  const isOfRpms = release && isRpm(release);
  const mirrorProblem = mirror?.key === undefined ? undefined : keyProblem(mirror.key);
  return [
    ...checkRelease(recipe),
    ...(mirrorProblem ? [invalidField(at("mirror.key"), `the key ${mirrorProblem}`)] : []),
    ...packages.flatMap((name, i) =>
      release?.kernelNames.test(name)
        ? [
            invalid(
              `packages[${i}]`,
              name,
              "the kernel is not one of the packages; set spec.recipe.kernel to cloud or generic",
            ),
          ]
        : [],
    ),
    ...(timeZone !== undefined && !isTimeZone(timeZone)
      ? [invalid("timeZone", timeZone, "there is no such time zone; Europe/Berlin is one, UTC another")]
      : []),
    ...repositories.flatMap(({ key, suites, components = [] }, i) => {
      const field = `repositories[${i}]`;
      const problem = keyProblem(key);
      const wrongKey = problem ? [invalidField(at(`${field}.key`), `the key ${problem}`)] : [];
      if (isOfRpms)
        return [
          ...wrongKey,
          ...(suites || components.length > 0
            ? [
                forbiddenField(
                  at(`${field}.${suites ? "suites" : "components"}`),
                  "repositories of RPMs have neither suites nor components; their uri is the folder with repodata/ in it",
                ),
              ]
            : []),
        ];
      if (!suites) return [...wrongKey, requiredField(at(`${field}.suites`), "such as bookworm-backports")];
      const flat = suites.filter((suite) => suite.endsWith("/"));
      return [
        ...wrongKey,
        ...(flat.length === 0 && components.length === 0
          ? [
              requiredField(
                at(`${field}.components`),
                'a suite has components, such as main; a folder of packages itself is written with "/" at its end',
              ),
            ]
          : []),
        ...(flat.length > 0 && (components.length > 0 || flat.length < suites.length)
          ? [
              invalid(
                `${field}.suites`,
                flat[0],
                "a folder of packages has no components, and stands in a repository of its own here",
              ),
            ]
          : []),
      ];
    }),
  ];
}

function checkRelease({ distribution, release, mode = "slim" }: Recipe): Cause[] {
  const found = findRelease({ distribution, release });
  const all = Object.keys(RELEASES[distribution] ?? {});
  if (!found)
    return [
      invalid(
        "release",
        release,
        `${distribution} has ${all.join(", ")}; set spec.recipe.release to one of them`,
      ),
    ];
  return found.modes.includes(mode)
    ? []
    : [invalid("mode", mode, `${withoutMode(found)}; set spec.recipe.mode to full`)];
}

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}

/** What one of the modes cannot do. */
export function checkMode(recipe: Recipe): Cause[] {
  return [...(recipe.mode === "full" ? checkFull(recipe) : checkSlim(recipe)), ...checkScreen(recipe)];
}

/** What only images with a screen show. */
function checkScreen(recipe: Recipe): Cause[] {
  const { profile, kernel, branding: { splash, wallpaper } = {}, files = [] } = recipe;
  const desktop = desktopOf(profile);
  const release = findRelease(recipe);
  const isOfRpms = release && isRpm(release);
  const picture = files.find(({ path }) => path === splash);
  const wrongPicture = (field: string, why: string) => [forbiddenField(at(`branding.${field}`), why)];
  return [
    ...(desktop && release && !release.profiles[desktop]
      ? [invalid("profile", profile, withoutDesktop(release, desktop))]
      : []),
    ...(desktop && kernel === "cloud"
      ? [invalid("kernel", kernel, "it has no driver for a screen; set it to generic, or leave it out")]
      : []),
    ...(wallpaper !== undefined && !desktop
      ? wrongPicture("wallpaper", "there is no desktop; set spec.recipe.profile to gnome or kde")
      : []),
    ...(splash === undefined
      ? []
      : recipe.mode !== "full" || isOfRpms
        ? wrongPicture("splash", "it is shown by full images of Debian and Ubuntu alone")
        : kernelOf(recipe) === "cloud"
          ? wrongPicture(
              "splash",
              "the small kernel has no driver for a screen; set spec.recipe.kernel to generic",
            )
          : picture && !isPng(bytesOf(picture))
            ? [invalid("branding.splash", splash, "that file of the recipe is no picture in PNG")]
            : []),
  ];
}

const checkSlim = ({ services = [], profile = "minimal", minimize, traced }: Recipe): Cause[] => [
  ...(traced && !minimize
    ? [
        forbiddenField(
          at("traced"),
          "only with minimize something is left out by it; set spec.recipe.minimize to true, or leave traced out",
        ),
      ]
    : []),
  ...services.flatMap(({ command }, i) =>
    command === undefined
      ? [
          requiredField(
            at(`services[${i}].command`),
            "slim images have no systemd, whose unit could be enabled; say what init should run, or set spec.recipe.mode to full",
          ),
        ]
      : [],
  ),
  ...(profile === "minimal"
    ? []
    : [
        invalid(
          "profile",
          profile,
          "its packages need their maintainer scripts (users, keys, units), which slim images do not run; set spec.recipe.mode to full, or leave profile out",
        ),
      ]),
];

const checkFull = ({ root, minimize, traced }: Recipe): Cause[] => [
  ...(root === "ram"
    ? [
        invalid(
          "root",
          root,
          "a full image is too large to be kept in memory; squashfs and erofs are only read and stay on the disk",
        ),
      ]
    : []),
  ...(minimize || traced
    ? [
        forbiddenField(
          at(minimize ? "minimize" : "traced"),
          "the package manager of a full image would no longer know what is there; set spec.recipe.mode to slim, or leave it out",
        ),
      ]
    : []),
];
