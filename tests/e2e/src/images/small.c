/* A program for images that have no other: does what pairs of words say, and prints what came of it, a line each. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef LOADS
#include <dlfcn.h>
#endif

static void show(const char *path)
{
    char text[4096];
    int file = open(path, O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);

    if (length < 0) {
        printf("show %s: %s\n", path, strerror(errno));
        return;
    }
    text[length] = 0;
    printf("%s", text);
}

static void open_node(const char *path)
{
    int file = open(path, O_RDWR | O_NONBLOCK);

    /* ENXIO comes after every access check has passed: there is just no driver. */
    printf("open %s: %s\n", path, file >= 0 || errno == ENXIO ? "ok" : strerror(errno));
}

int main(int count, char **words)
{
    for (int at = 1; at + 1 < count; at += 2) {
        const char *object = words[at + 1];

        if (!strcmp(words[at], "show"))
            show(object);
        else if (!strcmp(words[at], "open"))
            open_node(object);
#ifdef LOADS
        else if (!strcmp(words[at], "load"))
            printf("load %s: %s\n", object, dlopen(object, RTLD_NOW) ? "ok" : dlerror());
#endif
        else
            return 2;
    }
    return 0;
}
