/** How the newest values of several publishers become one; the position is the wire's code. */
export const COMBINES = ['last', 'sum', 'min', 'max'] as const
export type Combine = (typeof COMBINES)[number]

/** Flags beside that code: the reading was made before; a summary of all readings follows. */
export const REPEATED = 0x40
export const SUMMARISED = 0x80

/** Readings of a gauge that an entry of a frame may hold. */
export const MAX_READINGS = 64
