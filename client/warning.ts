/** Something that deserves a look but must not disturb the program. Codes stand in a table of `client/README.md`. */
export interface Warning {
  readonly code: string
  readonly message: string
}

export type WarningSink = (warning: Warning) => void
