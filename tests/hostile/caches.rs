//! Files of the dynamic loaders that are damaged, huge or not what they should be.

use crate::places::PATH_FILE;
use crate::row::{Row, Warned, Works, row};

/// Caches of glibc, as lines for a shell that has a sound one. What cannot be read is covered.
const CACHES: &[(&str, &str)] = &[
    ("empty", ": >$cache"),
    ("text", "echo text >$cache"),
    ("zeros", "head -c 4096 /dev/zero >$cache"),
    ("the-magic-alone", "truncate -s 20 $cache"),
    ("the-header-alone", "truncate -s 48 $cache"),
    ("half-an-entry", "truncate -s 60 $cache"),
    ("all-but-the-last-byte", "truncate -s -1 $cache"),
    ("of-2^32-1-entries", "set_bytes 20 '\\377\\377\\377\\377'"),
    ("of-2^31-entries", "set_bytes 20 '\\000\\000\\000\\200'"),
    ("no-entries", "set_bytes 20 '\\000\\000\\000\\000'"),
    ("of-2^32-1-bytes-of-names", "set_bytes 24 '\\377\\377\\377\\377'"),
    ("of-another-byte-order", "set_bytes 28 '\\003'"),
    ("old", "printf 'ld.so-1.7.0\\000\\377\\377\\377\\377' >$cache"),
    ("old-before-a-new-one", "{ printf 'ld.so-1.7.0\\000\\000\\000\\000\\000'; cat $part; } >$cache"),
    ("names-out-of-the-file", "set_bytes 52 '\\377\\377\\377\\177'"),
    ("an-extension-out-of-the-file", "set_bytes 32 '\\377\\377\\377\\177'"),
    ("16-mib", "truncate -s 16777216 $cache"),
    ("16-mib-and-1", "truncate -s 16777217 $cache"),
    ("10-gib", "truncate -s 10G $cache"),
    ("10-gib-of-nothing", "rm $cache; truncate -s 10G $cache"),
];

const CACHE: &str = "
part=../parts/cache; cache=etc/ld.so.cache; cp $part $cache
set_bytes() { printf \"$2\" | dd of=$cache bs=1 seek=$1 conv=notrunc status=none; }
";

/// What `ldconfig` reads, which is completed or left.
const CONFIGURATIONS: &[(&str, &str)] = &[
    ("conf-1-mib-and-1", "truncate -s 1048577 etc/ld.so.conf"),
    ("conf-10-gib", "truncate -s 10G etc/ld.so.conf"),
    ("conf-of-many-includes", "yes 'include /proc/*/*/*' | head -n 20000 >etc/ld.so.conf"),
    ("conf-of-odd-bytes", "printf 'include \\377\\033\\000\\n\\rinclude' >etc/ld.so.conf"),
    ("drop-in-10-gib", "truncate -s 10G etc/ld.so.conf.d/00-nvbind.conf"),
    ("draft-10-gib", "truncate -s 10G etc/.ld.so.cache.nvbind"),
    ("unwritable", ": >etc/ld.so.cache; chmod 0 etc etc/ld.so.cache etc/ld.so.conf etc/ld.so.conf.d"),
];

/// musl's list of directories, with `@` for it, and the warning where one is left.
const LISTS: &[(&str, &str, Option<&str>)] = &[
    ("of-nothing", ": >@", None),
    ("of-separators", "yes : | head -c 60000 >@", None),
    ("that-ends-at-once", "printf '\\000/lib' >@", None),
    ("of-one-long-name", "{ printf /; head -c 60000 /dev/zero | tr '\\000' a; } >@", None),
    ("of-odd-bytes", "printf '/\\377\\033:/lib\\r\\n' >@", None),
    ("64-kib", "yes /lib | head -c 65536 >@", None),
    ("64-kib-and-1", "yes /lib | head -c 65537 >@", Some("is larger than 64 KiB")),
    ("10-gib", "truncate -s 10G @", Some("is larger than 64 KiB")),
    ("link-out", "ln -s $OUTSIDE/kept @", Some("is no ordinary file")),
    ("fifo", "mkfifo @", Some("is no ordinary file")),
    ("node", "mknod @ c 195 200", Some("is no ordinary file")),
    ("directory", "mkdir @", Some("is no ordinary file")),
    ("draft-link-out", "ln -s $OUTSIDE/kept etc/.$(basename @).nvbind", None),
];

/// How far apart the bytes of a cache are that are changed, one a row.
const STEP: usize = 5;
const CHANGED: usize = 120;

pub(crate) fn rows() -> Vec<Row> {
    let cache =
        |name: &str, script: &str| row(format!("cache-{name}"), Works).image(format!("{CACHE}{script}"));
    let changed = (0..CHANGED)
        .step_by(STEP)
        .map(|at| cache(&format!("with-another-byte-at-{at}"), &format!("set_bytes {at} '\\245'")));
    let caches = CACHES.iter().map(|(name, script)| cache(name, script));
    let configurations = CONFIGURATIONS.iter().map(|(name, script)| row(*name, Works).image(script));
    let lists = LISTS.iter().map(|(name, script, left)| {
        let row = row(format!("musl-list-{name}"), left.map_or(Works, Warned));
        row.musl().image(script.replace('@', PATH_FILE))
    });
    caches.chain(changed).chain(configurations).chain(lists).collect()
}
