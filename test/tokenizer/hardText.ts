// Texts that tokenizers get wrong: white space, scripts, marks, emoji, broken characters, words without end. The same for
// every tokenizer; what is random comes from a seed.

import fc from 'fast-check'

const lines = [
  '',
  ' ',
  '  ',
  '\n',
  '\r\n',
  '\t \t',
  '   leading',
  'trailing   ',
  'a  b   c    d',
  'line\nline\n\nline\n\n\n  line',
  'carriage\r\nreturn\r\n\r\nline \r\n x\r',
  'tabs\tand\t\tmore\t\t\t \tend\t',
  'spaces before newline   \n   and after',
  'vertical\u000band\u000cform',
  'next\u0085line, line\u2028separator, paragraph\u2029end',
  'no\u00a0break, thin\u2009space, ideographic\u3000space, zero\u200bwidth, joiner\u2060, mark\ufeffbom',
  "I'm you're he's we'll they'd I've isn't O'Neil's rock'n'roll ''s 'S 'T 'LL 'Re 'vE 'd'd",
  "long s: it'\u017f kelvin: \u212a",
  '0 00 000 0000 12345 1,234.56 3.14159 1e-9 0xff 2024-01-31 99999999999999999999',
  '½ ² ٣٤٥ ४५६ Ⅷ 一二三 ㊿ 𝟘𝟙𝟚',
  'snake_case camelCase kebab-case SCREAMING path/to/file.ts C:\\x http://example.org/?q=a&b=c#d me@example.org',
  '{"json": [1, 2, {"a": null}], "b": "c\\n"}\n',
  'def f(x):\n    if x:\n        return  x  # comment\n\n\n\tpass',
  '!!!??? ...--- *** ___ ~~~ ((([[[{{{}}}]]])))',
  '<p class="x">&nbsp;&lt;</p><!-- x -->',
  '👋🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️‍🔥 👩🏿‍🚀 🧑‍🤝‍🧑 #️⃣ ☺︎ ☺️',
  'é e\u0301 Å A\u030a \u212b ñ n\u0303 ṩ s\u0323\u0307 s\u0307\u0323 q\u0307\u0323',
  'e\u0301\u0300\u0302\u0327\u0323\u0316 a\u0345\u0301 \u0301lonely \u0344 \u0958\u09dc',
  'Z\u0351\u036b\u0343\u036a\u0302\u036b\u033d\u034f\u0334\u0319\u0324\u031e\u0349\u035a\u032f\u031e\u0320\u034dA\u036b\u0357\u0334\u0362\u0335\u031c\u0330\u0354L\u0368',
  '한국어 각 갂 \u1100\u1161\u11a8 \u1100\u1161 \u1112\u1175\u11c2 \uac00\u11a8 \u11a8\u1161 \u1100\u1100\u1161\u1161',
  '日本語のテキスト。漢字、ひらがな、カタカナ、ｶﾀｶﾅ、が か\u3099 は\u309a',
  '中文文本，没有空格。繁體字也一樣。𠀀𠀁 \uf900\ufa0e\u2f800',
  'العربية مع تَشْكِيل والأرقام ١٢٣ \u0622 \u0627\u0653 لا\u200dلا',
  'עברית עם נִקּוּד \ufb2c שּׁ',
  'ภาษาไทย ไม่มีช่องว่าง กำลัง น้ำ ก็',
  'हिन्दी में क्षत्रिय श्री ज़ क़ \u0928\u093c संयुक्ताक्षर',
  'Tiếng Việt có dấu: ữ ử ợ u\u031b\u0303 o\u0302\u0323 o\u0323\u0302',
  'ქართული հայերեն ελληνικά ΆΈΉ Ά русский й и\u0306 ѓ',
  'தமிழ் కన్నడ മലയാളം සිංහල ខ្មែរ ພາສາລາວ မြန်မာ བོད་སྐད་ \u0cc6\u0cc2\u0cd5 \u0dd9\u0dcf\u0dca',
  '\u0000 \u0001\u0007\u0008\u001b[31mred\u001b[0m \u007f\u0080\u009f',
  'high \ud800 low \udc00 pair \ud83d\ude00 reversed \ude00\ud83d end \ud83d',
  'private \ue000\uf8ff \u{f0000} nonchar \uffff\ufdd0\u{10ffff} tags \u{e0067}\u{e0062}',
  '▁▁lower one▁block ▁ ▁x <0x41> <0xE4> <0xFF>',
  'ĠĠ Ċ âĢ \u0100\u0143 spelled bytes',
  '<s></s><pad><bos><eos><unk> <|endoftext|><|im_start|>user\nhi<|im_end|> <|begin_of_text|><|eot_id|>',
  'x<|endoftext|>y <|endoftext|> z<|endoftext|><|endoftext|>',
  '<|endoftext <|im_start <|<|im_end|>|> <tool_call> </tool_call><|fim_prefix|> <unused0><unused10> <h1>a</h1>',
  '\n\n\n\n\n \n\n  \n\n\n\t\t\t \t\t    <start_of_turn>user\n',
  'ﬁ ﬂ ﬃ ß ẞ ſ İ i̇ ı Ǆ ǅ ǆ ℵ ℝ Ω Ω K K',
]

/** Words without end, and runs of one kind, with which quadratic algorithms do not come to an end. */
const endless = [
  'a'.repeat(3000),
  'ab'.repeat(1500),
  'the'.repeat(700),
  ' '.repeat(1000),
  `${' '.repeat(500)}x`,
  '\n'.repeat(700),
  ' \n'.repeat(300),
  '\t'.repeat(400),
  '7'.repeat(1000),
  '!'.repeat(1000),
  '漢'.repeat(600),
  '👍'.repeat(300),
  '\u0301'.repeat(500),
  `a${'\u0323\u0301'.repeat(300)}b`,
  '\u1161'.repeat(100),
  '▁'.repeat(200),
  'AGCT'.repeat(700),
  Array.from({ length: 2000 }, (_, index) => 'aeiostnrhl'[(index * index + 7 * index) % 10]).join(''),
]

/** Every code point there is, in chunks; those of the first two planes also apart from each other. */
export function everyCodePoint(): string[] {
  const texts: string[] = []
  for (let from = 0; from < 0x110000; from += 64) {
    const codes = Array.from({ length: 64 }, (_, index) => from + index).filter(
      (code) => code < 0xd800 || code > 0xdfff,
    )
    if (codes.length === 0) continue
    texts.push(String.fromCodePoint(...codes))
    if (from < 0x20000) texts.push(codes.map((code) => String.fromCodePoint(code)).join('a '))
  }
  return texts
}

/** Lone surrogates become U+FFFD on the way to UTF-8; an oracle is asked about what arrives. */
export function arriving(text: string): string {
  return Buffer.from(text).toString('utf8')
}

/** The hard texts and random ones: any characters, mixes of difficult ones, bytes read as Latin-1 and as broken UTF-8. */
export function hardTexts(seed: number, count: number): string[] {
  const difficult = fc.constantFrom(
    ...Array.from(
      ' \n\r\t\'"sStTmMeErRvVlLdD019aé\u0301\u0323\u0345\u0327한\u1100\u1161\u11a8가漢👍\u200d\ufe0f🏽▁Ġ\u00a0\u0085\u2028\u3000٣²Ⅷ!.,-_ﬁßİ\ufeffا\u064eกำक्\u093c',
    ),
  )
  const words = fc.constantFrom(
    ' the',
    'ing',
    ' of',
    "'s",
    '\r\n',
    '   ',
    '<|endoftext|>',
    '<|im_end|>',
    '<bos>',
    '<0x0A>',
  )
  const texts = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({ unit: 'grapheme', maxLength: 60 }),
    fc.array(difficult, { maxLength: 60 }).map((parts) => parts.join('')),
    fc.array(fc.oneof(difficult, words), { maxLength: 60 }).map((parts) => parts.join('')),
    fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
    fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString('utf8')),
  )
  return [...lines, ...endless, ...fc.sample(texts, { seed, numRuns: count })].map(arriving)
}
