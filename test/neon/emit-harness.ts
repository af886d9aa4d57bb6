// Runs kernels of an emitted program on given bytes, in wasm inside this process or in a native child process. Every
// argument ends where readable memory ends, so that a kernel that touches a byte too many traps.

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { emitProgram, scratchBytes } from '../../backends/neon/emit/index.ts'
import type { ToolChain } from '../../backends/neon/toolchain/index.ts'
import type { Kernel } from '../../compiler/kernel/ir.ts'
import type { Program } from '../../compiler/plan/program.ts'

/** The few words of WebAssembly that are used; TypeScript has them only together with a browser's. */
interface Wasm {
  readonly Memory: new (limits: { initial: number; maximum: number; shared: boolean }) => { buffer: ArrayBuffer }
  compile(bytes: Uint8Array): Promise<object>
  instantiate(module: object, imports: object): Promise<{ exports: Readonly<Record<string, unknown>> }>
}

const wasm = (globalThis as unknown as { WebAssembly: Wasm }).WebAssembly

export interface Job {
  readonly kernel: number
  readonly sizes: readonly number[]
  /** One per kernel argument; each size a multiple of 2. */
  readonly args: readonly Uint8Array[]
}

const header = readFileSync(new URL('../../backends/neon/runtime/heddle_program.h', import.meta.url), 'utf8')

const driver = `#include "heddle_program.h"

// In two halves, so that a kernel that ignores its range does its work twice or not at all.
static void run_kernel(int32_t index, const int32_t* sizes, void* const* args, unsigned char* scratch) {
  const heddle_kernel* kernel = &heddle_program_table.kernels[index];
  const int64_t points = kernel->grid(sizes);
  kernel->run(sizes, args, scratch, points / 2, points);
  kernel->run(sizes, args, scratch, 0, points / 2);
}

#if defined(__wasm__)
extern "C" __attribute__((export_name("run_kernel"), used)) void exported(
    int32_t index, const int32_t* sizes, void* const* args, unsigned char* scratch) {
  run_kernel(index, sizes, args, scratch);
}
#else
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static void read_all(void* to, size_t bytes) {
  if (bytes > 0 && fread(to, 1, bytes, stdin) != bytes) exit(3);
}
static int32_t read_int() {
  int32_t value = 0;
  read_all(&value, 4);
  return value;
}
int main() {
  const size_t page = 65536;
  for (int32_t jobs = read_int(); jobs > 0; jobs--) {
    const int32_t kernel = read_int();
    int32_t sizes[8];
    const int32_t size_count = read_int();
    for (int32_t i = 0; i < size_count; i++) sizes[i] = read_int();
    void* args[16];
    int32_t bytes[16];
    const int32_t arg_count = read_int();
    for (int32_t i = 0; i < arg_count; i++) {
      bytes[i] = read_int();
      const size_t whole = (bytes[i] + page - 1) / page * page;
      unsigned char* begin = (unsigned char*)mmap(0, whole + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      mprotect(begin + whole, page, PROT_NONE);
      args[i] = begin + whole - bytes[i];
      read_all(args[i], bytes[i]);
    }
    unsigned char* scratch = (unsigned char*)aligned_alloc(64, heddle_program_table.scratch_bytes + 64);
    run_kernel(kernel, sizes, args, scratch);
    for (int32_t i = 0; i < arg_count; i++) fwrite(args[i], 1, bytes[i], stdout);
  }
  return 0;
}
#endif
`

/** A program that holds kernels and nothing else. */
export function programOf(kernels: readonly Kernel[]): Program {
  const sizes = new Map(kernels.flatMap((kernel) => kernel.sizes).map((size) => [size.name, size]))
  return {
    name: 'test',
    sizes: [...sizes.values()],
    kernels,
    values: [],
    functions: [],
    arenaBytes: 0,
    stateBytes: 0,
    inputBytes: 0,
    frozenCount: 0,
    storedCount: 0,
  }
}

/** The bytes of every argument after each job, whose arguments start from the bytes given. */
export async function runJobs(chain: ToolChain, program: Program, jobs: readonly Job[]): Promise<Uint8Array[][]> {
  const sources = [
    { name: 'heddle_program.h', text: header },
    { name: 'program.cpp', text: emitProgram(program, chain.isa) },
    { name: 'driver.cpp', text: driver },
  ]
  const output = chain.name === 'wasm' ? 'module' : 'executable'
  const path = await chain.compile(sources, { output })
  return chain.name === 'wasm' ? runInWasm(await readFile(path), program, jobs) : runInChild(chain, path, jobs)
}

function alignUp(value: number, to: number): number {
  return Math.ceil(value / to) * to
}

const PAGE = 65536

async function runInWasm(bytes: Uint8Array, program: Program, jobs: readonly Job[]): Promise<Uint8Array[][]> {
  setFlagsFromString('--experimental-wasm-relaxed-simd')
  const room = Math.max(...jobs.map((job) => job.args.reduce((sum, arg) => sum + arg.length + 64, 0)))
  const scratch = Math.max(0, ...program.kernels.map(scratchBytes))
  // Code's own data and stack lie in the first 4 MiB.
  const pages = alignUp(4 * 2 ** 20 + room + scratch + 4096, PAGE) / PAGE
  const memory = new wasm.Memory({ initial: pages, maximum: pages, shared: true })
  const module = await wasm.compile(bytes)
  const instance = await wasm.instantiate(module, { env: { memory } })
  const run = instance.exports['run_kernel'] as (...operands: number[]) => void
  const base = alignUp((instance.exports['__heap_base'] as { value: number }).value, 64)
  const view = new DataView(memory.buffer)
  const all = new Uint8Array(memory.buffer)

  function once(job: Job, atEnd: number): Uint8Array[] {
    let free = base + 1024
    const places = job.args.map((arg, position) => {
      if (position === atEnd) return all.length - arg.length
      const place = free
      free = alignUp(free + arg.length, 64)
      return place
    })
    job.sizes.forEach((size, position) => view.setInt32(base + 4 * position, size, true))
    places.forEach((place, position) => view.setInt32(base + 512 + 4 * position, place, true))
    job.args.forEach((arg, position) => all.set(arg, places[position]))
    run(job.kernel, base, base + 512, free)
    return job.args.map((arg, position) => all.slice(places[position], (places[position] ?? 0) + arg.length))
  }

  return jobs.map((job) => {
    let results: Uint8Array[] = []
    for (let atEnd = 0; atEnd < job.args.length; atEnd++) results = once(job, atEnd)
    return results
  })
}

async function runInChild(chain: ToolChain, path: string, jobs: readonly Job[]): Promise<Uint8Array[][]> {
  const input: Buffer[] = []
  const int = (value: number): void => {
    const bytes = Buffer.alloc(4)
    bytes.writeInt32LE(value)
    input.push(bytes)
  }
  int(jobs.length)
  for (const { kernel, sizes, args } of jobs) {
    int(kernel)
    int(sizes.length)
    sizes.forEach(int)
    int(args.length)
    for (const arg of args) {
      int(arg.length)
      input.push(Buffer.from(arg))
    }
  }
  const line = [...chain.launcher, path]
  const child = spawn(line[0] ?? path, line.slice(1), { stdio: ['pipe', 'pipe', 'inherit'] })
  const chunks: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
  child.stdin.on('error', () => {})
  child.stdin.end(Buffer.concat(input))
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, name) => resolve([status, name]))
  })
  if (code !== 0) throw new Error(`the test driver ended with ${code ?? signal}`)
  const result = Buffer.concat(chunks)
  let offset = 0
  return jobs.map(({ args }) =>
    args.map((arg) => {
      const bytes = new Uint8Array(result.subarray(offset, offset + arg.length))
      offset += arg.length
      return bytes
    }),
  )
}
