/** The part of Swagger UI that the reference page uses; the package has no types. */
declare module 'swagger-ui-dist/swagger-ui-es-bundle.js' {
  interface Options {
    url: string
    dom_id: string
    deepLinking: boolean
    tryItOutEnabled: boolean
    defaultModelsExpandDepth: number
    displayRequestDuration: boolean
    validatorUrl: string | null
    onComplete: () => void
  }
  export default function SwaggerUI(options: Options): { preauthorizeApiKey: (scheme: string, key: string) => void }
}
