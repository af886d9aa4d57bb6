// How byte-level vocabularies spell bytes: each as one visible character (GPT-2, `bytes_to_unicode`). Knows no file.

const bytes = new Map<string, number>()
let invisible = 0
for (let byte = 0; byte < 256; byte++) {
  const isVisible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
  bytes.set(String.fromCharCode(isVisible ? byte : 256 + invisible++), byte)
}

/** The bytes that a token spells; undefined when it holds a character that stands for no byte. */
export function spelledBytes(token: string): Uint8Array | undefined {
  const spelled = new Uint8Array(token.length)
  for (let index = 0; index < token.length; index++) {
    const byte = bytes.get(token.charAt(index))
    if (byte === undefined) return undefined
    spelled[index] = byte
  }
  return spelled
}
