/** Debian packages that bench/analyze.ts takes for applications, each with what it is run with, and what it says when it works. */

export interface TakenApplication {
  /** By a shell: the run that is watched, and then the service of the appliance. It ends by itself. */
  run?: string;
  /** A server, after it: ended after a while in the run that is watched, not in the appliance. */
  serve?: string;
  /** Another service of the appliance, beside it: what asks it something. */
  probe?: string;
  /** On the serial line of the appliance, once the application works. */
  says: RegExp;
}

const WATCHED_S = 20;

const SERVED = "SERVED";

/** For a shell: all of it that is watched. A server that had to be ended (timeout(1): 124) has served. */
export const watchedRun = ({ run, serve }: TakenApplication): string =>
  [run, serve && `timeout ${WATCHED_S} ${serve}; [ $? = 124 ] && echo ${SERVED}`].filter(Boolean).join("; ");
/** By what its watched run said. What a server answers is its probe's to say. */
export const hasWorked = ({ serve, probe, says }: TakenApplication, said: string): boolean =>
  (!serve || said.split("\n").includes(SERVED)) && (probe !== undefined || says.test(said));
/** For a shell: all of it that the appliance does. */
export const applianceRun = ({ run, serve }: TakenApplication): string =>
  [run, serve].filter(Boolean).join("; ");

/** The rules of the analysis were mended with these in view. */
export const KNOWN: Record<string, TakenApplication> = {
  nginx: {
    // Which site is enabled, its maintainer scripts decide.
    run: "nginx -t; printf 'events {}\\nhttp { server { listen 80; return 200 answers; } }\\n' > /tmp/n.conf",
    serve: "nginx -c /tmp/n.conf -g 'daemon off;'",
    probe: "busybox wget -qSO- http://127.0.0.1/",
    says: /Server: nginx\/1\.22/,
  },
  haproxy: {
    run: "haproxy -c -f /etc/haproxy/haproxy.cfg; printf 'defaults\\n mode http\\n timeout client 5s\\nfrontend f\\n bind :8081\\n http-request return status 200 content-type text/plain string answers\\n' > /tmp/h.cfg",
    serve: "haproxy -db -f /tmp/h.cfg",
    probe: "busybox wget -qO- http://127.0.0.1:8081/",
    says: /^answers/m,
  },
  "redis-server": {
    serve: "redis-server --port 6390",
    probe: "printf 'PING\\r\\nQUIT\\r\\n' | busybox nc 127.0.0.1 6390",
    says: /^\+PONG/m,
  },
  curl: { run: "curl -s file:///etc/passwd; curl -s https://localhost:1/", says: /^root:x:0/m },
  git: {
    run: "git init /tmp/g && cd /tmp/g && git -c user.name=a -c user.email=a commit --allow-empty -m x && git log && git clone /tmp/g /tmp/h; git -c add.interactive.useBuiltin=false add -i </dev/null",
    says: /Cloning into '\/tmp\/h'/,
  },
  "openssh-client": {
    run: "ssh-keygen -t ed25519 -N '' -f /tmp/key; ssh -o BatchMode=yes localhost; ssh-add -l",
    says: /The key fingerprint is/,
  },
  rsync: {
    run: "rsync -az /etc/ /tmp/etc/ && cmp /etc/passwd /tmp/etc/passwd && echo the same",
    says: /^the same/m,
  },
  sqlite3: { run: "sqlite3 /tmp/x.db 'create table a(b); select sqlite_version();'", says: /^3\.40/m },
  tmux: {
    run: "tmux -L x new-session -d 'sleep 1'; tmux -L x list-sessions",
    says: /^0: 1 windows/m,
  },
  ffmpeg: {
    run: "ffmpeg -loglevel error -f lavfi -i testsrc=duration=1 -y /tmp/x.mp4; ffprobe -loglevel error -show_entries format=format_name /tmp/x.mp4",
    says: /format_name=mov/,
  },
  "imagemagick-6.q16": {
    run: "convert-im6.q16 -size 10x10 xc:red /tmp/x.png; identify-im6.q16 /tmp/x.png",
    says: /PNG 10x10/,
  },
  squid: {
    // Its maintainer scripts would have made these its own; it does not stay root.
    run: "mkdir -p /var/log/squid /var/spool/squid; chown proxy /var/log/squid /var/spool/squid; squid -k parse",
    serve: "squid -N -d 1",
    // Asked as if it were a server of pages, it says so itself.
    probe: "busybox wget -qSO- http://127.0.0.1:3128/",
    says: /HTTP\/1\.1 400 Bad Request/,
  },
  "dnsmasq-base": {
    run: "dnsmasq --test",
    serve: "dnsmasq -k -p 5354 --user=root --log-facility=-",
    says: /started, version/,
  },
  "mariadb-client-core": {
    run: "mariadb --version; mariadb --protocol=tcp -h localhost",
    says: /Can't connect to .*server on 'localhost'/,
  },
  borgbackup: {
    run: "borg init -e none /tmp/b; borg create --stats /tmp/b::a /etc",
    says: /Archive name: a/,
  },
  "yt-dlp": {
    run: "yt-dlp --version; yt-dlp --list-extractors >/dev/null; yt-dlp http://localhost:1/",
    says: /^2023\.03\.04/m,
  },
  ack: { run: "ack root /etc/passwd", says: /^root:x:0/m },
  uglifyjs: { run: "echo 'var a = 1 + 2' > /tmp/a.js; uglifyjs /tmp/a.js", says: /^var a=/m },
  ant: {
    run: 'echo \'<project default="x"><target name="x"><echo>hi</echo></target></project>\' > /tmp/build.xml; ant -f /tmp/build.xml',
    says: /\[echo\] hi/,
  },
  debootstrap: {
    run: "timeout 20 debootstrap --arch=amd64 --print-debs bookworm /tmp/d http://deb.debian.org/debian",
    says: /Retrieving|Failed getting release file/,
  },
};

/** Chosen before they were ever analysed; no rule was made or mended for them. */
export const HELD_OUT: Record<string, TakenApplication> = {
  lighttpd: {
    run: "lighttpd -t -f /etc/lighttpd/lighttpd.conf; printf 'server.document-root=\"/etc\"\\nserver.port=8080\\n' > /tmp/l.conf",
    serve: "lighttpd -D -f /tmp/l.conf",
    probe: "busybox wget -qSO- http://127.0.0.1:8080/hostname",
    says: /Server: lighttpd/,
  },
  memcached: {
    serve: "memcached -u root -p 11211",
    probe: "printf 'version\\r\\nquit\\r\\n' | busybox nc 127.0.0.1 11211",
    says: /VERSION 1\.6/,
  },
  nmap: { run: "nmap -sT -p 1 127.0.0.1", says: /Nmap done/ },
  htop: { run: "TERM=linux timeout 2 htop; htop --version", says: /htop 3\.\d/ },
  mutt: { run: "mutt -v", says: /^Mutt 2/m },
  jq: { run: "echo '{\"a\":1}' | jq -c '{b: .a}'", says: /^\{"b":1\}/m },
  graphviz: { run: "dot -c; echo 'digraph { a -> b }' | dot -Tsvg", says: /<\/svg>/ },
  httpie: {
    run: "http --version; http --ignore-stdin --offline --print=HB POST localhost a=b",
    says: /POST \/ HTTP\/1\.1/,
  },
  cowsay: { run: "/usr/games/cowsay moo", says: /< moo >/ },
  "vim-tiny": {
    run: "echo hi > /tmp/a; vim.tiny -es -c s/hi/ho/ -c wq /tmp/a; cat /tmp/a",
    says: /^ho/m,
  },
};
