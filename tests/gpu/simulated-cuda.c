/*
 * A SIMULATED libcuda that computes, so that what the checks do with a GPU runs on machines without one. Its GPUs are those
 * of procfs, their memory is the host's, and launching any kernel adds one to each number, or two, which is wrong, with
 * SIMULATED_CUDA_FAULT set. SIMULATED_ROOT stands in for /.
 */
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, CUDA_ERROR_NO_DEVICE = 100 };

static glob_t gpus;

/* The UUID of the GPU in this place, as text. */
static void read_uuid(size_t at, char *uuid, size_t size) {
    char line[256];
    FILE *information = fopen(gpus.gl_pathv[at], "r");
    uuid[0] = 0;
    while (information && fgets(line, sizeof line, information)) {
        char *start = strstr(line, "GPU-");
        if (start && strncmp(line, "GPU UUID:", 9) == 0)
            snprintf(uuid, size, "%.40s", start);
    }
    if (information)
        fclose(information);
}

/* Leaves the GPU alone that CUDA_VISIBLE_DEVICES names. */
static void choose(void) {
    char uuid[64];
    const char *wanted = getenv("CUDA_VISIBLE_DEVICES");
    for (size_t at = 0; wanted && at < gpus.gl_pathc; at++) {
        read_uuid(at, uuid, sizeof uuid);
        if (strcmp(uuid, wanted) == 0) {
            gpus.gl_pathv += at;
            gpus.gl_pathc = 1;
            return;
        }
    }
}

int cuInit(unsigned flags) {
    char pattern[4096];
    const char *root = getenv("SIMULATED_ROOT");
    snprintf(pattern, sizeof pattern, "%s/proc/driver/nvidia/gpus/*/information", root ? root : "");
    if (flags != 0 || glob(pattern, 0, NULL, &gpus) != 0)
        return CUDA_ERROR_NO_DEVICE;
    choose();
    return SUCCESS;
}

int cuDriverGetVersion(int *version) {
    *version = 12080;
    return SUCCESS;
}

int cuGetErrorName(int error, const char **name) {
    *name = error == CUDA_ERROR_NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_SIMULATED";
    return SUCCESS;
}

int cuDeviceGetCount(int *count) {
    *count = (int)gpus.gl_pathc;
    return SUCCESS;
}

int cuDeviceGet(int *device, int at) {
    *device = at;
    return SUCCESS;
}

int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "Simulated GPU %d", device);
    return SUCCESS;
}

int cuDeviceGetUuid(unsigned char *bytes, int device) {
    char uuid[64];
    int count = 0;
    read_uuid((size_t)device, uuid, sizeof uuid);
    for (const char *at = uuid + 4; *at && count < 16; at++) {
        if (*at != '-' && sscanf(at++, "%2hhx", &bytes[count++]) != 1)
            return 1;
    }
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = &gpus;
    return device;
}

int cuCtxSetCurrent(void *context) {
    return context != &gpus;
}

int cuMemAllocHost_v2(void **memory, size_t size) {
    *memory = malloc(size);
    return *memory == NULL;
}

int cuMemAlloc_v2(unsigned long long *memory, size_t size) {
    void *there;
    int answer = cuMemAllocHost_v2(&there, size);
    *memory = (uintptr_t)there;
    return answer;
}

int cuMemcpyHtoD_v2(unsigned long long to, const void *from, size_t size) {
    memcpy((void *)(uintptr_t)to, from, size);
    return SUCCESS;
}

int cuMemcpyDtoH_v2(void *to, unsigned long long from, size_t size) {
    memcpy(to, (void *)(uintptr_t)from, size);
    return SUCCESS;
}

int cuModuleLoadData(void **module, const char *text) {
    *module = &gpus;
    return strstr(text, ".entry add_one") == NULL;
}

int cuModuleGetFunction(void **function, void *module, const char *name) {
    *function = module;
    return strcmp(name, "add_one") != 0;
}

int cuLaunchKernel(void *function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned block_y, unsigned block_z,
                   unsigned shared, void *stream, void **parameters, void **extra) {
    uint32_t *numbers = (void *)(uintptr_t) * (unsigned long long *)parameters[0];
    uint32_t count = *(uint32_t *)parameters[1];
    uint32_t more = getenv("SIMULATED_CUDA_FAULT") ? 2 : 1;
    if (function != &gpus || y * z * block_y * block_z != 1 || shared || stream || extra || x * threads < count)
        return 1;
    for (uint32_t i = 0; i < count; i++)
        numbers[i] += more;
    return SUCCESS;
}

int cuCtxSynchronize(void) {
    return SUCCESS;
}
