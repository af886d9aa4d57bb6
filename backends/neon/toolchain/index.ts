// What the rest of the backend needs of the tool chains.

export { CompileCache, cacheFolder } from './cache.ts'
export type { CompileOptions, Source, ToolChain, ToolChainName } from './chain.ts'
export { chooseToolChain } from './choose.ts'
export type { ToolChainPreference } from './choose.ts'
