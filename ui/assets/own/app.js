// What every page of Coffer runs.
export {};
