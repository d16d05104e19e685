/*
 * cuda-check UUID NODE: whether CUDA works here on exactly one GPU, this one, and how fast its node is opened and memory is
 * copied. It needs no toolkit: the driver API is loaded by name, and a kernel comes as PTX for the driver to compile.
 *
 * Prints lines "NAME VALUE". Exit status: 0 all is right; 1 it is not; 2 no libcuda; 3 the driver says that there is no GPU.
 * Names and types are those of cuda.h.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 256, OPENS = 201, COPIES = 11, CUDA_ERROR_NO_DEVICE = 100 };

/* Large enough that the copy and not its start is measured, and small enough for any GPU. */
static const size_t BYTES = (size_t)64 << 20;

typedef int CUresult;
typedef int CUdevice;
typedef void *CUcontext, *CUmodule, *CUfunction, *CUstream;
typedef unsigned long long CUdeviceptr;

static struct {
    CUresult (*init)(unsigned);
    CUresult (*driver_version)(int *);
    CUresult (*error_name)(CUresult, const char **);
    CUresult (*device_count)(int *);
    CUresult (*device)(CUdevice *, int);
    CUresult (*device_name)(char *, int, CUdevice);
    CUresult (*device_uuid)(unsigned char *, CUdevice);
    CUresult (*retain)(CUcontext *, CUdevice);
    CUresult (*set_current)(CUcontext);
    CUresult (*allocate)(CUdeviceptr *, size_t);
    CUresult (*allocate_host)(void **, size_t);
    CUresult (*to_device)(CUdeviceptr, const void *, size_t);
    CUresult (*to_host)(void *, CUdeviceptr, size_t);
    CUresult (*load)(CUmodule *, const void *);
    CUresult (*function)(CUfunction *, CUmodule, const char *);
    CUresult (*launch)(CUfunction, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, CUstream, void **,
                       void **);
    CUresult (*synchronize)(void);
} cu;

static const struct {
    void *place;
    const char *name;
} SYMBOLS[] = {
    {&cu.init, "cuInit"},
    {&cu.driver_version, "cuDriverGetVersion"},
    {&cu.error_name, "cuGetErrorName"},
    {&cu.device_count, "cuDeviceGetCount"},
    {&cu.device, "cuDeviceGet"},
    {&cu.device_name, "cuDeviceGetName"},
    {&cu.device_uuid, "cuDeviceGetUuid"},
    {&cu.retain, "cuDevicePrimaryCtxRetain"},
    {&cu.set_current, "cuCtxSetCurrent"},
    {&cu.allocate, "cuMemAlloc_v2"},
    {&cu.allocate_host, "cuMemAllocHost_v2"},
    {&cu.to_device, "cuMemcpyHtoD_v2"},
    {&cu.to_host, "cuMemcpyDtoH_v2"},
    {&cu.load, "cuModuleLoadData"},
    {&cu.function, "cuModuleGetFunction"},
    {&cu.launch, "cuLaunchKernel"},
    {&cu.synchronize, "cuCtxSynchronize"},
};

/* Adds one to each of COUNT numbers. */
static const char PTX[] = ".version 6.0\n"
                          ".target sm_50\n"
                          ".address_size 64\n"
                          ".visible .entry add_one(.param .u64 numbers, .param .u32 count)\n"
                          "{\n"
                          "    .reg .pred %outside;\n"
                          "    .reg .b32 %block, %threads, %thread, %at, %count, %number;\n"
                          "    .reg .b64 %numbers, %offset;\n"
                          "    ld.param.u64 %numbers, [numbers];\n"
                          "    ld.param.u32 %count, [count];\n"
                          "    mov.u32 %block, %ctaid.x;\n"
                          "    mov.u32 %threads, %ntid.x;\n"
                          "    mov.u32 %thread, %tid.x;\n"
                          "    mad.lo.u32 %at, %block, %threads, %thread;\n"
                          "    setp.ge.u32 %outside, %at, %count;\n"
                          "    @%outside bra done;\n"
                          "    cvta.to.global.u64 %numbers, %numbers;\n"
                          "    mul.wide.u32 %offset, %at, 4;\n"
                          "    add.u64 %numbers, %numbers, %offset;\n"
                          "    ld.global.u32 %number, [%numbers];\n"
                          "    add.u32 %number, %number, 1;\n"
                          "    st.global.u32 [%numbers], %number;\n"
                          "done:\n"
                          "    ret;\n"
                          "}\n";

/* Ends the program unless a call went well. */
static void must(CUresult result, const char *call) {
    const char *name = NULL;
    if (result == 0)
        return;
    if (cu.error_name)
        cu.error_name(result, &name);
    printf("%s answers %d %s\n", call, result, name ? name : "");
    exit(result == CUDA_ERROR_NO_DEVICE ? 3 : 1);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int by_size(const void *a, const void *b) {
    double first = *(const double *)a, second = *(const double *)b;
    return (first > second) - (first < second);
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, by_size);
    return values[count / 2];
}

static void load_driver(void) {
    void *library = dlopen("libcuda.so.1", RTLD_NOW);
    if (!library) {
        printf("%s\n", dlerror());
        exit(2);
    }
    /* Before anything else: a library that knows no GPU need not have the rest. */
    for (size_t i = 0; i < sizeof SYMBOLS / sizeof *SYMBOLS; i++) {
        void *symbol = dlsym(library, SYMBOLS[i].name);
        memcpy(SYMBOLS[i].place, &symbol, sizeof symbol);
        if (i == 0 && symbol)
            must(cu.init(0), "cuInit");
        if (!symbol) {
            printf("libcuda.so.1 has no %s\n", SYMBOLS[i].name);
            exit(1);
        }
    }
}

/* The only GPU, which has to be the one that was chosen. */
static CUdevice only_device(const char *wanted) {
    int count = 0, version = 0;
    CUdevice device;
    char name[128] = "", uuid[64] = "GPU-";
    unsigned char bytes[16];
    must(cu.driver_version(&version), "cuDriverGetVersion");
    must(cu.device_count(&count), "cuDeviceGetCount");
    must(cu.device(&device, 0), "cuDeviceGet");
    must(cu.device_name(name, sizeof name, device), "cuDeviceGetName");
    must(cu.device_uuid(bytes, device), "cuDeviceGetUuid");
    for (int i = 0; i < 16; i++) {
        const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
        snprintf(uuid + strlen(uuid), sizeof uuid - strlen(uuid), "%s%02x", dash, bytes[i]);
    }
    printf("cuda %d.%d\ndevices %d\nuuid %s\nname %s\n", version / 1000, version % 1000 / 10, count, uuid, name);
    if (count != 1 || strcmp(uuid, wanted) != 0) {
        printf("expected is one device, %s\n", wanted);
        exit(1);
    }
    return device;
}

/* Copies to the GPU, has a kernel add one to each number there, copies back and compares: this needs the driver's compiler. */
static void compute(CUdeviceptr device, uint32_t *numbers) {
    CUmodule module;
    CUfunction function;
    uint32_t count = (uint32_t)(BYTES / sizeof *numbers);
    void *parameters[] = {&device, &count};
    for (uint32_t i = 0; i < count; i++)
        numbers[i] = i * 2654435761u;
    must(cu.to_device(device, numbers, BYTES), "cuMemcpyHtoD");
    must(cu.load(&module, PTX), "cuModuleLoadData");
    must(cu.function(&function, module, "add_one"), "cuModuleGetFunction");
    must(cu.launch(function, (count + THREADS - 1) / THREADS, 1, 1, THREADS, 1, 1, 0, NULL, parameters, NULL),
         "cuLaunchKernel");
    must(cu.synchronize(), "cuCtxSynchronize");
    memset(numbers, 0, BYTES);
    must(cu.to_host(numbers, device, BYTES), "cuMemcpyDtoH");
    for (uint32_t i = 0; i < count; i++) {
        if (numbers[i] != i * 2654435761u + 1) {
            printf("number %u came back from the GPU as %u\n", i, numbers[i]);
            exit(1);
        }
    }
    printf("computed %u\n", count);
}

static void measure_copies(CUdeviceptr device, void *numbers) {
    double to[COPIES], from[COPIES];
    for (int i = 0; i < COPIES; i++) {
        double start = seconds();
        must(cu.to_device(device, numbers, BYTES), "cuMemcpyHtoD");
        double middle = seconds();
        must(cu.to_host(numbers, device, BYTES), "cuMemcpyDtoH");
        to[i] = middle - start;
        from[i] = seconds() - middle;
    }
    printf("to_gpu_mib_s %.0f\n", (double)BYTES / (1 << 20) / median(to, COPIES));
    printf("from_gpu_mib_s %.0f\n", (double)BYTES / (1 << 20) / median(from, COPIES));
}

static void measure_opens(const char *node) {
    double times[OPENS];
    for (int i = 0; i < OPENS; i++) {
        double start = seconds();
        int file = open(node, O_RDWR | O_CLOEXEC);
        times[i] = seconds() - start;
        if (file < 0) {
            perror(node);
            exit(1);
        }
        close(file);
    }
    printf("open_us %.1f\n", median(times, OPENS) * 1e6);
}

int main(int count, char **arguments) {
    CUcontext context;
    CUdeviceptr memory;
    void *numbers;
    if (count != 3) {
        fprintf(stderr, "cuda-check UUID NODE\n");
        return 64;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* What an earlier run left compiled would hide a compiler that does not work. */
    setenv("CUDA_CACHE_DISABLE", "1", 1);
    load_driver();
    must(cu.retain(&context, only_device(arguments[1])), "cuDevicePrimaryCtxRetain");
    must(cu.set_current(context), "cuCtxSetCurrent");
    must(cu.allocate(&memory, BYTES), "cuMemAlloc");
    must(cu.allocate_host(&numbers, BYTES), "cuMemAllocHost");
    compute(memory, numbers);
    measure_copies(memory, numbers);
    measure_opens(arguments[2]);
    return 0;
}
