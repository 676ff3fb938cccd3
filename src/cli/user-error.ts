/** An error that is the user's to mend: main prints its message without a stack and exits with 1. */
export class UserError extends Error {}
