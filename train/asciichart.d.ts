// Types of the part of asciichart that is used; the package has none.

declare module 'asciichart' {
  const asciichart: { plot(series: readonly number[], options?: { readonly height?: number }): string }
  export default asciichart
}
