/*
 * c_floor STEPS: the floor. A prestart hook that makes the mounts, links and nodes of a driver view in the container,
 * in the fewest system calls, and nothing else: it looks for no driver, checks nothing, writes no ld.so.cache, tells no
 * device cgroup, and follows whatever links the image has. What it costs, nobody who makes these mounts can save.
 *
 * STEPS has a line for each, of fields separated by tabs; paths in the view are relative to it, others absolute:
 *   bind SOURCE PLACE     link TARGET PLACE     node SOURCE PLACE MAJOR MINOR
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define VIEW "usr/local/nvidia"
#define MOST 512

/* PROC_USER_INIT_INO (include/linux/proc_ns.h) */
#define INITIAL_USER_NAMESPACE 0xEFFFFFFDU

struct step {
    char kind;
    const char *what;
    char *place;
    dev_t device;
    int mount;
};

static struct step steps[MOST];
static int count;
static char state[65536], config[1 << 20], list[1 << 16];

static void fail(const char *doing) {
    fprintf(stderr, "c_floor: %s: %s\n", doing, strerror(errno));
    exit(1);
}

static int must(int result, const char *doing) {
    if (result < 0)
        fail(doing);
    return result;
}

static void slurp(int file, char *text, size_t size, const char *name) {
    size_t length = 0;
    ssize_t more;
    must(file, name);
    while (length < size - 1 && (more = read(file, text + length, size - 1 - length)) > 0)
        length += (size_t)more;
    if (length == size - 1) {
        errno = EFBIG;
        fail(name);
    }
    text[length] = 0;
    close(file);
}

/* The value of a JSON string that contains nothing to unescape, after `key` and whatever stands before its quote. */
static char *string_after(char *text, const char *key, char *value, size_t size) {
    char *at = strstr(text, key);
    if (!at)
        return NULL;
    at = strchr(at + strlen(key), '"');
    char *end = at ? strchr(at + 1, '"') : NULL;
    if (!end || (size_t)(end - at) > size)
        return NULL;
    memcpy(value, at + 1, (size_t)(end - at - 1));
    value[end - at - 1] = 0;
    return value;
}

/* crun gives the root file system in the state; runc leaves it to config.json. */
static void find_root(char *root, size_t size) {
    char bundle[4096], path[4200];
    if (string_after(state, "\"root\":", root, size))
        return;
    if (!string_after(state, "\"bundle\":", bundle, sizeof bundle)) {
        errno = EINVAL;
        fail("find the bundle in the state");
    }
    snprintf(path, sizeof path, "%s/config.json", bundle);
    slurp(open(path, O_RDONLY | O_CLOEXEC), config, sizeof config, path);
    char *object = strstr(config, "\"root\":{");
    if (!object || !string_after(object, "\"path\":", root, size)) {
        errno = EINVAL;
        fail("find the root file system");
    }
}

static void read_steps(const char *path) {
    slurp(open(path, O_RDONLY | O_CLOEXEC), list, sizeof list, path);
    char *rest = list, *line;
    while ((line = strsep(&rest, "\n")) && *line && count < MOST) {
        struct step *step = &steps[count++];
        step->kind = *strsep(&line, "\t");
        step->what = strsep(&line, "\t");
        step->place = strsep(&line, "\t");
        if (step->kind == 'n') {
            unsigned major = (unsigned)atoi(strsep(&line, "\t"));
            step->device = makedev(major, (unsigned)atoi(line));
        }
    }
}

static int clone_mount(const char *source, unsigned long long attributes) {
    struct mount_attr attr = {.attr_set = attributes, .propagation = MS_PRIVATE};
    int mount = must(open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC), source);
    must(mount_setattr(mount, "", AT_EMPTY_PATH, &attr, sizeof attr), source);
    return mount;
}

static int namespace_of(const char *process, const char *kind) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/ns/%s", process, kind);
    return must(open(path, O_RDONLY | O_CLOEXEC), path);
}

static ino_t identity(int namespace) {
    struct stat stat;
    must(fstat(namespace, &stat), "look at a namespace");
    return stat.st_ino;
}

static void join(int user, int mounts) {
    if (identity(user) != identity(namespace_of("self", "user"))) {
        must(setns(user, CLONE_NEWUSER), "join the user namespace");
        must(setresgid(0, 0, 0), "be root's group");
        must(setresuid(0, 0, 0), "be root");
    }
    must(setns(mounts, CLONE_NEWNS), "join the mount namespace");
}

static void attach(int mount, int directory, const char *place) {
    must(move_mount(mount, "", directory, place, MOVE_MOUNT_F_EMPTY_PATH), place);
}

/* The folders above a place, unless they are the same as those of the step before. */
static void make_parents(int directory, const char *place) {
    static char last[4096];
    const char *name = strrchr(place, '/');
    size_t length = name ? (size_t)(name - place) : 0;
    if (length == 0 || length >= sizeof last || (strncmp(last, place, length) == 0 && last[length] == 0))
        return;
    memcpy(last, place, length);
    last[length] = 0;
    for (char *slash = strchr(last, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdirat(directory, last, 0755) < 0 && errno != EEXIST)
            fail(last);
        *slash = '/';
    }
    if (mkdirat(directory, last, 0755) < 0 && errno != EEXIST)
        fail(last);
}

static int make_view(int root) {
    int context = must(fsopen("tmpfs", FSOPEN_CLOEXEC), "make a tmpfs");
    must(fsconfig(context, FSCONFIG_SET_STRING, "mode", "0755", 0), "make a tmpfs");
    must(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "make a tmpfs");
    int view = must(fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV), "make a tmpfs");
    /* An image without programs of its own has no usr/local. */
    const char *parents[] = {"usr", "usr/local", VIEW};
    for (size_t at = 0; at < sizeof parents / sizeof *parents; at++)
        if (mkdirat(root, parents[at], 0755) < 0 && errno != EEXIST)
            fail(parents[at]);
    attach(view, root, VIEW);
    return view;
}

int main(int argc, char **argv) {
    char root_path[4096];
    if (argc != 2)
        return 2;
    umask(0);
    slurp(STDIN_FILENO, state, sizeof state, "read the state");
    find_root(root_path, sizeof root_path);
    read_steps(argv[1]);
    char *pid = strstr(state, "\"pid\":"), process[16];
    snprintf(process, sizeof process, "%d", pid ? atoi(pid + strlen("\"pid\":")) : 0);
    int user = namespace_of(process, "user"), mounts = namespace_of(process, "mnt");
    /* In a user namespace nodes cannot be made, but bound. */
    int bind_nodes = identity(user) != INITIAL_USER_NAMESPACE;
    for (struct step *step = steps; step < steps + count; step++) {
        if (step->kind == 'b')
            step->mount = clone_mount(step->what, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
        if (step->kind == 'n' && bind_nodes)
            step->mount = clone_mount(step->what, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    }

    join(user, mounts);
    int root = must(open(root_path, O_PATH | O_DIRECTORY | O_CLOEXEC), root_path);
    int view = make_view(root);
    for (struct step *step = steps; step < steps + count; step++) {
        int absolute = *step->place == '/';
        int directory = absolute ? root : view;
        const char *place = step->place + absolute;
        if (step->kind == 'n' && !bind_nodes) {
            make_parents(directory, place);
            must(mknodat(directory, place, S_IFCHR | 0666, step->device), place);
            continue;
        }
        if (step->kind == 'l' && absolute) {
            /* A place of the image, where something may stand. */
            make_parents(directory, place);
            if (symlinkat(step->what, directory, place) < 0 && errno != EEXIST)
                fail(place);
            continue;
        }
        make_parents(directory, place);
        if (step->kind == 'l') {
            must(symlinkat(step->what, directory, place), place);
            continue;
        }
        must(mknodat(directory, place, S_IFREG | 0444, 0), place);
        attach(step->mount, directory, place);
    }
    struct mount_attr sealed = {.attr_set = MOUNT_ATTR_RDONLY};
    must(mount_setattr(view, "", AT_EMPTY_PATH, &sealed, sizeof sealed), "seal the view");
    return 0;
}
