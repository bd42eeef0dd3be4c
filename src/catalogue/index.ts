/** Models, limits, voices, prices: the hosted service's catalogue as data. */
export * from './catalogue.ts'
export * from './families.ts'
export * from './models.ts'
export * from './prices.ts'
export * from './voices.ts'
