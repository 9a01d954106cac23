/** 1 is served first. Among equal ones the users take turns. */
export const priorities = [1, 2, 3, 4, 5] as const;
export type Priority = (typeof priorities)[number];
export const defaultPriority: Priority = 3;
