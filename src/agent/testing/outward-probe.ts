/** What somebody reaches over IP. Perl is on every Debian. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";

const PROBE = `
  use Socket;
  for (@ARGV) {
    my ($kind, $host, $port) = split /:/;
    my $to = pack_sockaddr_in($port, inet_aton($host));
    socket(my $s, PF_INET, $kind eq "udp" ? SOCK_DGRAM : SOCK_STREAM, 0) or die "$!";
    local $SIG{ALRM} = sub { die "no answer\\n" };
    my $done = eval { alarm 5; my $ok = $kind eq "udp" ? send($s, "x", 0, $to) : connect($s, $to); alarm 0; $ok };
    print "$_\\t", ($done ? "reached" : $@ || $!), "\\n";
  }`;

/** By address, "tcp:IPV4:PORT" or "udp:IPV4:PORT": "reached", or why not. @param as the command before its own, which makes it somebody else */
export async function reached(
  as: readonly string[],
  addresses: readonly string[],
): Promise<Record<string, string>> {
  const [program = "", ...args] = [...as, "perl", "-e", PROBE, ...addresses];
  const { stdout } = await promisify(execFile)(program, args);
  return Object.fromEntries(
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split("\t").slice(0, 2)),
  );
}

/** As a machine's user, without rights. */
export const asUser = ({ uid, gid }: { uid: number; gid: number }): string[] => [
  ...["setpriv", "--reuid", String(uid), "--regid", String(gid), "--clear-groups"],
  ...["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"],
];
