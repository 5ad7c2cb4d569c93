/** How the newest values of several publishers become one; the position is the wire's code. */
export const COMBINES = ['last', 'sum', 'min', 'max'] as const
export type Combine = (typeof COMBINES)[number]
