/* A mock of libnvidia-ml with the functions that nvbind calls, as nvml.h declares them. It is no NVIDIA code and talks with
 * no driver. The machine: GPU 0 without MIG, GPU 1 divided into two MIG devices with indexes 0 and 2 of 4 places, GPU 2
 * that cannot do MIG. The memory of GPU 1 is not for everybody to know, and GPU 2 has none of its own.
 *
 * Another machine is described by GPUS, MIGS and PLACES.
 *
 * Compiled with one of: INIT=CODE (nvmlInit fails), LOST (GPU 0 does), OLD (a library from before MIG), FOREVER (nvmlInit
 * does not return), CRASH, NO_NUL (texts that do not end), NO_CUDA=CODE (its version is not told). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef OLD
#define NEW(name, old) old
#else
#define NEW(name, old) name
#endif
#ifndef INIT
#define INIT 0
#endif

struct device {
    const char *uuid, *name;
    /* Of a GPU: its bus, what the question for its memory is answered, and whether it is divided, or cannot be: -1. */
    unsigned bus;
    int memory, is_divided;
    /* Of a MIG device: the GPU's index, its own place there, and its instances. */
    unsigned gpu, place, gpu_instance, compute_instance;
};
typedef struct device *nvmlDevice_t;
struct pci { char legacy[16]; unsigned domain, bus, device, device_id, sub_system;
#ifndef OLD
    char id[32];
#else
    unsigned reserved[4];
#endif
};

#ifndef GPUS
#define GPUS \
    {"GPU-aaaa0000-0000-0000-0000-000000000001", "Mock GPU", 0x01, 0, 0, 0, 0, 0, 0}, \
    {"GPU-bbbb0000-0000-0000-0000-000000000002", "Mock GPU", 0x41, 4, 1, 0, 0, 0, 0}, \
    {"GPU-cccc0000-0000-0000-0000-000000000003", "Mock GPU", 0xc1, 3, -1, 0, 0, 0, 0},
/* Their order is not that of the instances' numbers. */
#define MIGS \
    {"MIG-11111111-0000-0000-0000-000000000001", "Mock GPU MIG 1g.10gb", 0, 0, 0, 1, 0, 9, 0}, \
    {"MIG-22222222-0000-0000-0000-000000000002", "Mock GPU MIG 1c.2g.20gb", 0, 0, 0, 1, 2, 1, 1},
#define PLACES 4
#endif

/* The last one is none. */
static struct device gpus[] = {GPUS {NULL, NULL, 0, 0, 0, 0, 0, 0, 0}};
#define COUNT (sizeof gpus / sizeof *gpus - 1)
static int initialised;

int NEW(nvmlInit_v2, nvmlInit)(void) {
#ifdef FOREVER
    for (;;) pause();
#endif
#ifdef CRASH
    abort();
#endif
    initialised = INIT == 0;
    return INIT;
}
int nvmlShutdown(void) { initialised = 0; return 0; }
const char *nvmlErrorString(int code) {
    return code == 9 ? "Driver Not Loaded" : code == 15 ? "GPU is lost" : "Mock error";
}
int NEW(nvmlDeviceGetCount_v2, nvmlDeviceGetCount)(unsigned *count) {
    if (!initialised) return 1;
    *count = COUNT;
    return 0;
}
int NEW(nvmlDeviceGetHandleByIndex_v2, nvmlDeviceGetHandleByIndex)(unsigned index, nvmlDevice_t *device) {
    if (!initialised) return 1;
    if (index >= COUNT) return 2;
#ifdef LOST
    if (index == 0) return 15;
#endif
    *device = &gpus[index];
    return 0;
}
int NEW(nvmlDeviceGetPciInfo_v3, nvmlDeviceGetPciInfo_v2)(nvmlDevice_t device, struct pci *info) {
    memset(info, 0, sizeof *info);
    info->bus = device->bus;
    return 0;
}
struct memory { unsigned long long total, free, used; };
int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, struct memory *memory) {
    if (device->memory) return device->memory;
    memory->total = 80ULL << 30;
    memory->free = memory->used = 40ULL << 30;
    return 0;
}
int NEW(nvmlSystemGetCudaDriverVersion_v2, nvmlSystemGetCudaDriverVersion)(int *version) {
#ifdef NO_CUDA
    return NO_CUDA;
#endif
    *version = NEW(12090, 10020);
    return 0;
}
static int text(const char *text, char *out, unsigned length) {
#ifdef NO_NUL
    memset(out, 'x', length);
    return 0;
#endif
    return (unsigned)snprintf(out, length, "%s", text) < length ? 0 : 7;
}
int nvmlDeviceGetUUID(nvmlDevice_t device, char *out, unsigned length) { return text(device->uuid, out, length); }
int nvmlDeviceGetName(nvmlDevice_t device, char *out, unsigned length) { return text(device->name, out, length); }

#ifndef OLD
static struct device migs[] = {MIGS {NULL, NULL, 0, 0, 0, 0, 0, 0, 0}};
int nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending) {
    if (device->is_divided < 0) return 3;
    *current = *pending = device->is_divided;
    return 0;
}
int nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count) {
    *count = device->is_divided == 1 ? PLACES : 0;
    return 0;
}
int nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *mig) {
    if (device->is_divided != 1) return 3;
    if (index >= PLACES) return 2;
    for (*mig = migs; (*mig)->uuid; ++*mig)
        if (&gpus[(*mig)->gpu] == device && (*mig)->place == index) return 0;
    return 6;
}
int nvmlDeviceGetGpuInstanceId(nvmlDevice_t device, unsigned *id) { *id = device->gpu_instance; return 0; }
int nvmlDeviceGetComputeInstanceId(nvmlDevice_t device, unsigned *id) { *id = device->compute_instance; return 0; }
#endif
