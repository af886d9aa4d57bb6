// Dates in the format of C's strftime, in its own ("C") locale, as chat templates ask for them. Knows no template.

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
]

/**
 * `date` in local time by a format of strftime (C11 7.27.3.5). `%-d` and the like leave the padding out, as in glibc; a
 * directive that is not known stays as it stands.
 */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)([A-Za-z%])/g, (whole, bare: string, letter: string) => {
    const piece = directive(date, letter)
    if (piece === undefined) return whole
    return bare === '' ? piece : piece.replace(/^[0 ]+(?=\d)/, '')
  })
}

function directive(date: Date, letter: string): string | undefined {
  const padded = (value: number, width = 2): string => String(value).padStart(width, '0')
  const hours = date.getHours()
  switch (letter) {
    case '%':
      return '%'
    case 'a':
      return (days[date.getDay()] ?? '').slice(0, 3)
    case 'A':
      return days[date.getDay()]
    case 'b':
    case 'h':
      return (months[date.getMonth()] ?? '').slice(0, 3)
    case 'B':
      return months[date.getMonth()]
    case 'd':
      return padded(date.getDate())
    case 'e':
      return String(date.getDate()).padStart(2, ' ')
    case 'F':
      return strftime(date, '%Y-%m-%d')
    case 'H':
      return padded(hours)
    case 'I':
      return padded(hours % 12 === 0 ? 12 : hours % 12)
    case 'j':
      return padded(dayOfYear(date), 3)
    case 'm':
      return padded(date.getMonth() + 1)
    case 'M':
      return padded(date.getMinutes())
    case 'p':
      return hours < 12 ? 'AM' : 'PM'
    case 'S':
      return padded(date.getSeconds())
    case 'T':
      return strftime(date, '%H:%M:%S')
    case 'y':
      return padded(date.getFullYear() % 100)
    case 'Y':
      return String(date.getFullYear())
    default:
      return undefined
  }
}

function dayOfYear(date: Date): number {
  // Whole days by the calendar: clocks that are put forward make a local day shorter.
  const day = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate())
  return (day - Date.UTC(date.getFullYear(), 0, 1)) / 86_400_000 + 1
}
