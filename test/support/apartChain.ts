// A tool chain whose programs run every kernel on copies of its arguments, each in memory of its own, as long as the
// kernel declares it: inside of a session's one block of memory an address sanitizer sees nothing. Only for tests, and
// for one thread, since copies are taken and put back around a launch.

import assert from 'node:assert/strict'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import { dtypeBytes } from '../../compiler/graph/axis.ts'
import { bufferElements } from '../../compiler/kernel/ir.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'

const runApart = `#include <stdlib.h>
#include <string.h>
namespace apart {
struct Argument { int64_t bytes; bool written; };
static void run(int32_t index, const Argument* arguments, const int32_t* sizes, void* const* args, int64_t begin, int64_t end) {
  const heddle_kernel& kernel = heddle_program_table.kernels[index];
  void* copies[64];
  for (int32_t i = 0; i < kernel.argument_count; i++) {
    copies[i] = malloc(arguments[i].bytes);
    memcpy(copies[i], args[i], arguments[i].bytes);
  }
  unsigned char* scratch = kernel.scratch_bytes > 0 ? (unsigned char*)aligned_alloc(64, kernel.scratch_bytes) : nullptr;
  kernel.run(sizes, copies, scratch, begin, end);
  for (int32_t i = 0; i < kernel.argument_count; i++) {
    if (arguments[i].written) memcpy(args[i], copies[i], arguments[i].bytes);
    free(copies[i]);
  }
  free(scratch);
}
`

function kernelLines(kernel: Kernel, index: number): string {
  assert.ok(kernel.arguments.length > 0 && kernel.arguments.length <= 64)
  const entries = kernel.arguments.map(
    (buffer) => `{${bufferElements(buffer) * dtypeBytes[buffer.dtype]}, ${buffer.access !== 'read'}}`,
  )
  return `static void run_${index}(const int32_t* sizes, void* const* args, unsigned char*, int64_t begin, int64_t end) {
  static const Argument arguments[] = {${entries.join(', ')}};
  run(${index}, arguments, sizes, args, begin, end);
}`
}

/** What stands between a program and its run-time; it gives the run-time another table. */
function separation(kernels: readonly Kernel[]): string {
  return `${runApart}${kernels.map(kernelLines).join('\n')}
static heddle_kernel kernels[${kernels.length}];
static heddle_program separated() {
  const heddle_kernel_run runs[] = {${kernels.map((_, index) => `run_${index}`).join(', ')}};
  heddle_program program = heddle_program_table;
  for (int32_t i = 0; i < program.kernel_count; i++) {
    kernels[i] = program.kernels[i];
    kernels[i].run = runs[i];
  }
  program.kernels = kernels;
  return program;
}
}  // namespace apart
extern "C" const heddle_program apart_table = apart::separated();
`
}

/** `kernels` are those of the program that will be compiled. */
export function apartChain(chain: ToolChain, kernels: readonly Kernel[]): ToolChain {
  return {
    ...chain,
    compile: (sources, options) => {
      assert.ok(
        sources.some(({ name }) => name === 'runtime.cpp'),
        'the program has no run-time to give another table',
      )
      const changed = sources.map((source) => {
        const { name, text } = source
        if (name === 'program.cpp') return { ...source, text: `${text}${separation(kernels)}` }
        return name === 'runtime.cpp'
          ? { ...source, text: `#define heddle_program_table apart_table\n${text}` }
          : source
      })
      return chain.compile(changed, options)
    },
  }
}
