//! What an image has in the directory for CUDA's forward compatibility.

use crate::row::{Expected, Row, Works, row};

/// A directory as NVIDIA's package makes it, to be changed.
const PACKAGE: &str = "
mkdir -p usr/local/cuda/compat; cd usr/local/cuda/compat; parts=$IMAGE/../parts; file=libcuda.so.580.65.06
cp $parts/newer $file; ln -s $file libcuda.so.1
";

/// What is wrong with it: the driver's own libcuda is used.
const LEFT: &[(&str, &str)] = &[
    ("file-is-a-link-out", "ln -sf $OUTSIDE/compat/libcuda.so.580.65.06 $file"),
    (
        "file-is-a-link-out-beside-its-soname",
        "ln -sf $OUTSIDE/compat/$file $file; rm libcuda.so.1; cp $parts/library libcuda.so.1",
    ),
    ("file-is-a-link-to-kmsg", "ln -sf /proc/kmsg $file"),
    ("file-is-a-fifo", "rm $file; mkfifo $file"),
    ("file-is-a-node", "rm $file; mknod $file c 195 0"),
    ("file-is-a-socket", "mv $parts/socket $file"),
    ("file-is-a-directory", "rm $file; mkdir $file"),
    ("file-of-nothing-10-gib", "rm $file; truncate -s 10G $file"),
    ("soname-is-a-link-out", "ln -sf $OUTSIDE/compat/libcuda.so.1 libcuda.so.1"),
    ("soname-is-a-loop", "ln -sf libcuda.so.1 libcuda.so.1"),
    ("soname-is-a-magic-link", "ln -sf /proc/self/root$OUTSIDE/compat/libcuda.so.1 libcuda.so.1"),
    ("directory-is-a-link-out", "cd ..; rm -r compat; ln -s $OUTSIDE/compat compat"),
    ("directory-is-a-link-out-by-dots", "cd ..; rm -r compat; ln -s ../../../../../..$OUTSIDE/compat compat"),
    ("directory-is-a-loop", "cd ..; rm -r compat; ln -s compat compat"),
    ("directory-is-a-file", "cd ..; rm -r compat; : >compat"),
    ("directory-is-the-kernel-s", "cd ..; rm -r compat; ln -s /proc/self compat"),
];

/// What is odd and yet used: links to the image's files, by their own names.
const USED: &[(&str, &str)] = &[
    ("as-it-should-be", ""),
    ("file-of-10-gib", "truncate -s 10G $file"),
    ("file-has-two-names", "ln $file $IMAGE/var-kept"),
    (
        "directory-by-dots",
        "cd ..; mv compat /$IMAGE/var-compat; ln -s ../../../../../../../../var-compat compat",
    ),
    (
        "beside-odd-names",
        "for name in 'lib\u{1b}[31m.so' 'lib\u{202e}.so' 'lib .so'; do cp $file \"$name\"; done",
    ),
];

const MOUNTS: &str =
    "mount -t proc proc $ROOT/proc; mkdir -p $ROOT/hostproc; mount --rbind /proc $ROOT/hostproc";

fn package(name: &str, script: &str, expected: Expected) -> Row {
    row(name, expected).image(format!("{PACKAGE}{script}")).mounts(MOUNTS)
}

pub(crate) fn rows() -> Vec<Row> {
    let left = LEFT.iter().map(|(name, script)| package(name, script, Works));
    let denied = package(
        "directory-of-the-host-s-root",
        "cd ..; rm -r compat; ln -s /hostproc/$PPID/root$OUTSIDE/compat compat",
        Works,
    );
    let used = USED.iter().map(|(name, script)| package(name, script, Works).own_cuda());
    let covered = "cp $file libnvidia-allocator.so.1; mkdir -p $IMAGE/usr/lib64/gbm
        : >$IMAGE/usr/lib64/libgbm.so.1; : >$IMAGE/usr/lib64/gbm/nvidia-drm_gbm.so";
    let covered = package("name-that-a-covered-file-needs", covered, Works).own_cuda();
    left.chain(used).chain([covered, denied.may_be_denied()]).collect()
}
