// What nvcc makes of this brings its own CUDA runtime: a program as people build them.
#include <cstdio>
#include <cstdlib>

__global__ void add_one(unsigned *numbers, unsigned count) {
    unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at < count)
        numbers[at] += 1;
}

static void must(cudaError_t error, const char *call) {
    if (error == cudaSuccess)
        return;
    printf("%s: %s\n", call, cudaGetErrorString(error));
    exit(1);
}

int main() {
    const unsigned count = 1u << 20;
    unsigned *there, *here = new unsigned[count];
    for (unsigned i = 0; i < count; i++)
        here[i] = i;
    must(cudaMalloc(&there, count * sizeof *here), "cudaMalloc");
    must(cudaMemcpy(there, here, count * sizeof *here, cudaMemcpyHostToDevice), "cudaMemcpy to the GPU");
    add_one<<<count / 256, 256>>>(there, count);
    must(cudaGetLastError(), "add_one");
    must(cudaMemcpy(here, there, count * sizeof *here, cudaMemcpyDeviceToHost), "cudaMemcpy from the GPU");
    for (unsigned i = 0; i < count; i++) {
        if (here[i] != i + 1) {
            printf("number %u came back as %u\n", i, here[i]);
            return 1;
        }
    }
    printf("computed %u\n", count);
    return 0;
}
