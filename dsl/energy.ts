// What a recipe says about energy: when a run computes, rests and holds on a device that has other things to do. Data only;
// nothing that is computed depends on it.

import type { Place } from '../compiler/diagnostic.ts'
import { callPlace, writtenAt } from './place.ts'
import { frozen, GivenValues } from './validation.ts'

/** A temperature of the device. */
export interface Temperature {
  readonly kind: 'celsius'
  readonly degrees: number
  /** Type of the thermal zones that count, as the device names them; absent: the hottest of all. */
  readonly zone?: string
}

export interface EnergyOptions {
  /** Share of the time that is computed; 1 unless stated. The rest is rest, every ten seconds or so. */
  readonly dutyCycle?: number
  /** Share of the battery's charge below which the run holds, until there are two points more. */
  readonly pauseBelowBattery?: number
  /** Temperature above which the run holds, until it is three degrees cooler. */
  readonly pauseAbove?: Temperature
  /** Hold unless power comes from outside. */
  readonly whenCharging?: boolean
  /** Hold while other processes use a quarter of all cores' time or more. */
  readonly whenIdle?: boolean
  /** Seconds between two looks at battery, temperature and the rest; 5 unless stated. */
  readonly lookEvery?: number
}

/** The same with every default filled in. */
export interface Energy extends EnergyOptions {
  readonly dutyCycle: number
  readonly whenCharging: boolean
  readonly whenIdle: boolean
  readonly lookEvery: number
}

/**
 * Degrees Celsius, of the hottest of the device's thermal zones or of those of one type: `celsius(42, 'battery')`.
 *
 * @throws UserError HD302 for what is no temperature of a device or no name
 */
export function celsius(degrees: number, zone?: string): Temperature {
  const given = new GivenValues({ degrees, zone }, 'celsius', ['degrees', 'zone'], callPlace())
  const isName = (text: string): boolean => /^[!-~]{1,63}$/.test(text) && text !== '-'
  const named = given.has('zone') ? given.text('zone', 'the type of a thermal zone') : undefined
  if (named !== undefined && !isName(named)) given.fail('zone', 'the type of a thermal zone, without spaces')
  return frozen({
    kind: 'celsius' as const,
    degrees: given.number('degrees', 'from 1 to 120 degrees', (value) => value >= 1 && value <= 120),
    ...(named === undefined ? {} : { zone: named }),
  })
}

/** The recipe's `energy`. @throws UserError HD301, HD302 */
export function energyOf(value: unknown, place: Place): Energy {
  const keys = ['dutyCycle', 'pauseBelowBattery', 'pauseAbove', 'whenCharging', 'whenIdle', 'lookEvery']
  const given = new GivenValues(value, 'energy', keys, place)
  const isShare = (share: number): boolean => share > 0 && share < 1
  const made: Energy = frozen({
    dutyCycle: given.number(
      'dutyCycle',
      'a share of the time from 0.01 to 1',
      (share) => share >= 0.01 && share <= 1,
      1,
    ),
    ...(given.has('pauseBelowBattery')
      ? { pauseBelowBattery: given.number('pauseBelowBattery', 'a share of the charge above 0 and below 1', isShare) }
      : {}),
    ...(given.has('pauseAbove')
      ? { pauseAbove: given.made<Temperature>('pauseAbove', ['celsius'], 'a temperature, as celsius(42)') }
      : {}),
    whenCharging: given.flag('whenCharging'),
    whenIdle: given.flag('whenIdle'),
    lookEvery: given.number('lookEvery', 'from 1 to 3600 seconds', (every) => every >= 1 && every <= 3600, 5),
  })
  return writtenAt(made, place)
}
