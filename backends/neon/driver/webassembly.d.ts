// The part of the JavaScript WebAssembly interface that Node 20 has and its type package leaves to the browser's.
// Remove it when the project's types bring their own.

declare namespace WebAssembly {
  // oxlint-disable-next-line no-extraneous-class -- a handle without members
  class Module {
    private readonly brand: 'module'
  }

  class Memory {
    constructor(descriptor: { initial: number; maximum: number; shared: boolean })
    readonly buffer: SharedArrayBuffer
    grow(pages: number): number
  }

  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>)
    readonly exports: Record<string, unknown>
  }

  function compile(bytes: Uint8Array<ArrayBuffer>): Promise<Module>
}
