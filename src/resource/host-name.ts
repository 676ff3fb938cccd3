/** The TLS name of a host, in its certificate; what the source of a migration checks the target against. */
export const hostDnsName = (name: string) => `${name}.host.vireo`;
