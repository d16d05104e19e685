//! What the directories of a container's LD_LIBRARY_PATH hold.

use crate::row::{Row, Works, refused, row};

const MOUNTS: &str = "mount -t proc proc $ROOT/proc; mkdir -p $ROOT/sys $ROOT/hostproc
mount -t sysfs sysfs $ROOT/sys; mount --rbind /proc $ROOT/hostproc";

/// What /opt/a/libcuda.so.1 is, as a line for a shell in that directory.
const FILES: &[(&str, &str)] = &[
    ("link-to-kmsg", "ln -s /proc/kmsg @"),
    ("link-to-core-pattern", "ln -s /proc/sys/kernel/core_pattern @"),
    ("link-to-status", "ln -s /proc/1/status @"),
    ("link-to-own-memory", "ln -s /proc/self/mem @"),
    ("link-to-own-root", "ln -s /proc/self/root$OUTSIDE/libcuda.so.1 @"),
    ("link-to-a-descriptor", "ln -s /proc/self/fd/0 @"),
    ("link-to-sysfs", "ln -s /sys/kernel/uevent_seqnum @"),
    ("link-to-the-host-s-kmsg", "ln -s /hostproc/kmsg @"),
    ("link-to-the-host-s-core-pattern", "ln -s /hostproc/sys/kernel/core_pattern @"),
    ("link-through-the-host-s-root", "ln -s /hostproc/$PPID/root$OUTSIDE/libcuda.so.1 @"),
    ("link-out", "ln -s $OUTSIDE/libcuda.so.1 @"),
    ("link-out-by-dots", "ln -s ../../../../../../..$OUTSIDE/libcuda.so.1 @"),
    ("link-loop", "ln -s @ @"),
    ("link-to-a-node", "ln -s /dev/nvidia0 @"),
    ("link-to-the-view", "ln -s /usr/local/nvidia/lib64/libcuda.so.1 @"),
    ("link-to-the-cache", "cp ../../../parts/cache ../../etc/ld.so.cache; ln -s /etc/ld.so.cache @"),
    (
        "link-to-the-drop-in",
        ": >../../etc/ld.so.conf.d/00-nvbind.conf; ln -s /etc/ld.so.conf.d/00-nvbind.conf @",
    ),
    ("link-to-the-conf", "ln -s /etc/ld.so.conf @"),
    ("link-to-the-draft", ": >../../etc/.ld.so.cache.nvbind; ln -s /etc/.ld.so.cache.nvbind @"),
    ("link-to-the-loader", "ln -s /lib64/ld-linux-x86-64.so.2 @"),
    ("link-to-the-program", ": >../../usr/bin/nvidia-smi; ln -s /usr/bin/nvidia-smi @"),
    ("node", "mknod @ c 195 0"),
    ("node-of-zeros", "mknod @ c 1 5"),
    ("disk", "mknod @ b 7 0"),
    ("fifo", "mkfifo @"),
    ("socket", "mv ../../../parts/socket @"),
    ("directory", "mkdir @"),
    ("10-gib", "truncate -s 10G @"),
    ("empty", ": >@"),
    ("unreadable", "cp ../../../parts/library @; chmod 0 @"),
    ("half-a-header", "head -c 19 ../../../parts/library >@"),
];

/// Values of the variable, the image's /opt/a having a libcuda.
const VALUES: &[(&str, &str)] = &[
    ("by-own-root", "/proc/self/root/opt/a"),
    ("descriptors", "/proc/self/fd:/dev/fd:/proc/self/task"),
    ("kernel", "/proc:/proc/1:/sys:/dev"),
    ("root", "/:/..:/../../../opt/a"),
    ("etc", "/etc:/etc/ld.so.conf.d:/usr/bin"),
    ("view", "/usr/local/nvidia/lib64:/usr/local/nvidia:/usr/local"),
    ("variables", "$ORIGIN:${ORIGIN}/../a:/opt/$LIB:$(id)"),
    ("odd", "/opt/a\u{1b}[2J\n\u{202e}:;;::/opt/a:"),
];

pub(crate) fn rows() -> Vec<Row> {
    let is_left =
        |name: &str| ["node", "node-of-zeros", "disk", "fifo", "socket", "directory"].contains(&name);
    let files = FILES.iter().map(|(name, script)| {
        let script = format!("mkdir -p opt/a; cd opt/a; {}", script.replace('@', "libcuda.so.1"));
        // It is covered, and cannot be replaced then.
        let expected = if *name == "link-to-the-draft" { refused(".ld.so.cache.nvbind") } else { Works };
        let row = row(format!("libcuda-is-a-{name}"), expected).image(script).mounts(MOUNTS);
        let row = row.search_path("/opt/a");
        if is_left(name) { row.bares("opt/a/libcuda.so.1") } else { row }
    });
    let long = ["/opt/a/".repeat(20_000), format!("/opt/a:{}", "/nowhere".repeat(511))];
    let many: String = (0..10_000).map(|number| format!("/opt/{number}:")).collect();
    let values = VALUES.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let values = values.chain([("long", long[0].clone()), ("deep", long[1].clone()), ("many", many)]);
    let values = values.map(|(name, value)| {
        let script = "mkdir -p opt/a; cp ../parts/library opt/a/libcuda.so.1";
        row(format!("value-{name}"), Works).image(script).mounts(MOUNTS).search_path(&value)
    });
    files.chain(values).collect()
}
