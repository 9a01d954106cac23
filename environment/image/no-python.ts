/** `python` of an environment whose image has none: any program can be run in it, and no package installed. */
export const noPython = 'none';
