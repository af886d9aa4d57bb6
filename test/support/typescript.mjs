// Lets mocha read TypeScript as ES modules, as the command line does. With tsx's own hooks mocha would load tests as
// CommonJS, and what they import with `import()` would exist a second time, with source maps that overwrite the first's.

import { register } from 'tsx/esm/api'

register()
// Clang in WebAssembly is kept from one compilation to the next; see `backends/neon/toolchain/wasm.ts`.
process.env.HEDDLE_CLANG_IDLE_SECONDS ??= '600'
