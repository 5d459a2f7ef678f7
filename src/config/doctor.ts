import { z } from 'zod';

/** Everything that `cn-clip doctor` is told. */
export const doctorSchema = z.strictObject({
  json: z.boolean().default(false).describe('print JSON in place of tables'),
});
