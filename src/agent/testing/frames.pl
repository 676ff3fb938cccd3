# The guest's end of taps, for tests: perl frames.pl TAP LISTENER. Lines of "NAME HEX" come in on stdin; each frame is sent out of TAP, and for each a
# line tells "NAME passed" or "NAME dropped", by whether it arrived at LISTENER before a frame that always passes, the first line's. With a MAC as third
# argument it only listens, until that MAC's announcement (RARP) arrives. Perl, because it needs ioctl and is on every Debian.
use strict; use warnings; use Fcntl; $| = 1;
my ($TUNSETIFF, $IFF_TAP, $IFF_NO_PI) = (0x400454ca, 2, 0x1000);
sub tap {
  my ($name) = @_;
  sysopen(my $fd, "/dev/net/tun", O_RDWR) or die "tun: $!\n";
  my $request = pack("a16 S x22", $name, $IFF_TAP | $IFF_NO_PI);
  ioctl($fd, $TUNSETIFF, $request) or die "$name: $!\n";
  return $fd;
}
my ($from, $to) = map { tap($_) } @ARGV[0, 1];
if (defined $ARGV[2]) {
  my $mac = pack("H*", $ARGV[2] =~ s/://gr);
  while (sysread($to, my $frame, 65536)) {
    if (substr($frame, 6, 6) eq $mac and substr($frame, 12, 2) eq "\x80\x35") { print "announced\n"; exit; }
  }
}
my $count = 0;
my $marker;
# Each is another: the last four bytes are what it asks for.
sub next_marker { return substr($marker, 0, -4) . pack("N", 0x0a000000 + ++$count); }
sub receive {
  my ($seconds) = @_;
  my $bits = ""; vec($bits, fileno($to), 1) = 1;
  return undef unless select($bits, undef, undef, $seconds);
  sysread($to, my $frame, 65536);
  return $frame;
}
sub arrives {
  my ($frame) = @_;
  my $end = next_marker();
  syswrite($from, $frame) if defined $frame;
  syswrite($from, $end);
  my $passed = 0;
  while (1) {
    my $got = receive(10);
    die "nothing arrives any more\n" unless defined $got;
    $passed = 1 if defined $frame and $got eq $frame;
    return $passed if $got eq $end;
  }
}
while (my $line = <STDIN>) {
  my ($name, $hex) = split " ", $line;
  if (!defined $marker) {
    $marker = pack("H*", $hex);
    # The ports of the bridge come up in their own time.
    my $up = 0;
    for (1 .. 100) {
      my $try = next_marker();
      syswrite($from, $try);
      my $got;
      while (defined($got = receive(0.1))) { if ($got eq $try) { $up = 1; last; } }
      last if $up;
    }
    die "not even $name passes\n" unless $up;
    next;
  }
  print "$name ", (arrives(pack("H*", $hex)) ? "passed" : "dropped"), "\n";
}
