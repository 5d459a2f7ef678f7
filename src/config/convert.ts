import { z } from 'zod';

/** Everything that `cn-clip convert` is told besides its two paths. */
export const convertSchema = z.strictObject({
  to: z.enum(['pt', 'safetensors']).describe('form of the file to write'),
});
